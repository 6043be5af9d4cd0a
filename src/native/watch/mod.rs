//! Wakes whoever follows a database when its files are written, and whoever follows a folder when its entries change.
//!
//! One [`Hub`] hears for all: one descriptor of the system's notification, read on the event loop, no thread. Where
//! the system cannot notify, one timer wakes those that it leaves deaf.
//!
//! The files of a database are watched, not their folder: a folder may hold much else that is written, other
//! databases for one. The notification comes when bytes are written, which is *before* they are committed, and none
//! comes with the commit itself: whoever is woken may have to look more than once. A file that is mapped into memory,
//! as -shm is, notifies nobody.

mod folders;
mod hub;
#[cfg(target_os = "linux")]
mod inotify;
mod listener;
mod watcher;

pub use folders::Folders;
pub use hub::Hub;
pub use watcher::{Wake, Watcher};
