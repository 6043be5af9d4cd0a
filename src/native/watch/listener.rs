//! Who is told of a change, by whatever hears of it.

use std::ffi::OsStr;
use std::fmt::Debug;

/// What is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told<'a> {
    /// The file was written.
    Written,
    /// An entry of the folder came or went.
    Entry(&'a OsStr),
    /// The path may mean another file now, or none: it must be watched anew.
    Elsewhere,
    /// Something was missed, or nobody listens and a while is over: anything may have happened.
    Anything,
}

/// Hears of one path. Told from the event loop, in no order; it only leaves a mark and wakes.
pub(super) trait Listener: Debug + Send + Sync {
    fn told(&self, what: Told<'_>);
}
