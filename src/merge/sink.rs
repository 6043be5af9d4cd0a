//! Where a merged object goes.

use std::io::Write;

use async_trait::async_trait;

use crate::store;

/// Takes bytes at any time. Between two pieces it is asked whether it is full, and may then wait until it has sent some on.
#[async_trait(?Send)]
pub trait Sink: Write {
    /// Whether it should be drained before more is written.
    fn is_full(&self) -> bool {
        false
    }

    /// Makes room.
    async fn drain(&mut self) -> store::Result<()> {
        Ok(())
    }
}

/// In memory, all of it.
impl Sink for Vec<u8> {}
