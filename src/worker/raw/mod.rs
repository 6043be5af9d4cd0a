//! Databases shipped by who has no program of ours: raw database files, and the raw bytes of a WAL.
//!
//! The Worker cuts the segments. For each it needs the database sum before and after, so it keeps the sum of every page
//! (`page_sums`); and it keeps where in the WAL it stands (`place`), in such a way that no state is taken for another:
//!
//! * An upload starts with the last frame that is held. That frame carries the running checksum of the whole WAL before
//!   it: if it is the one that was taken, all that was taken is still there, and what follows goes on from it.
//! * When a WAL starts again, SQLite adds one to its first salt. What follows is taken if the first salt tells that it
//!   started again once, and the client says where the one before ended (`restarted_at`): at what is held. Only who kept
//!   it from starting again meanwhile can know that. Anyone else sends the database file, and the pages that differ are
//!   taken.

mod database;
mod page_sums;
mod place;
mod segment;
mod underway;
mod wal;

pub(super) use database::put;
pub(super) use place::{Place, Places, WAL, get};
pub(super) use underway::Underway;
pub(super) use wal::post;

use worker::Response;

use super::failure::Failure;
use super::json::answer;
use super::upload::Accepted;
use crate::replica::Position;

/// Where the replica stands, and where in the WAL.
fn told(status: u16, position: Position, place: Option<&Place>) -> Result<Response, Failure> {
    let mut response = answer(&Accepted { position }, status, position)?;
    if let Some(place) = place {
        response.headers_mut().set(WAL, &place.to_string())?;
    }
    Ok(response)
}
