//! What a replica is: the segments of one database at one destination, how they are named, and which of them
//! make a state of the database.
//!
//! No I/O and no clock: these are functions of listings and indexes that someone else fetched.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bundle;
mod catalog;
mod chores;
mod fetch;
mod level;
mod map_window;
mod order;
mod page_map;
mod page_set;
mod plan;
mod policy;
mod position;
mod segment;
mod sums;

pub use bundle::{BundleEnd, BundleWriter, InvalidBundle, MAX_MEMBERS, Member, bundle_end};
pub use catalog::{Catalog, Entry};
pub use chores::{Chore, Next, next_chore, snapshot_due};
pub use fetch::{Fetch, fetches};
pub use level::Level;
pub use map_window::{InvalidMap, MapWindow, Place};
pub(crate) use order::sort_by_key;
pub use page_map::PageMap;
pub use page_set::PageSet;
pub use plan::{InBundle, Plan, PlanError, Target, plan};
pub use policy::Policy;
pub use position::Position;
pub use segment::{InvalidKey, Layout, SegmentId, SegmentInfo};
pub use sums::SumsHeader;
