//! The time of day, as a parameter: a simulation has its own.

use std::fmt;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ltx::Timestamp;

/// Tells the time of day. Waiting is tokio's business: its time can be virtual too.
#[derive(Clone)]
pub struct Clock(Rc<dyn Fn() -> Timestamp>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// Another.
    pub fn new(now: impl Fn() -> Timestamp + 'static) -> Self {
        Self(Rc::new(now))
    }

    /// Now; it may go backwards.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
