//! A live database followed through [`walferry::native::sqlite::Source`]. The applications are other processes, with
//! another SQLite: Python's.
#![cfg(feature = "native")]

mod application;
mod checkpoints;
mod committed;
mod follower;
mod growth;
mod opening;
mod pin;
mod soak;
