//! A live database followed through [`walferry::native::sqlite::Source`]. The applications are other processes, with
//! another SQLite: Python's.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is a test, its helpers too"
)]

mod application;
mod checkpoints;
mod committed;
mod follower;
mod growth;
mod opening;
mod pin;
mod soak;
