//! Where in a WAL a replica stands.

use std::fmt;

use serde::Serialize;
use worker::{Request, Response};

use super::told;
use crate::json::{FromJson, Json};
use crate::replica::Position;
use crate::wal::{Cursor, frame_offset};
use crate::worker::failure::Failure;
use crate::worker::head::Head;
use crate::worker::ledger::Ledger;
use crate::worker::query::Query;
use crate::worker::replica::Replica;

/// The header of answers that tells it: `salt1=…&salt2=…&offset=…&end=…`, to be sent as it is.
pub(in crate::worker) const WAL: &str = "Walferry-Wal";
/// The ledger's note of it.
const NOTE: &str = "wal";

/// The state of a database, and the frame of its WAL that it ends with.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::worker) struct Place {
    pub(super) position: Position,
    /// At frame 0 the header of the WAL has not been seen: its checksum is not known.
    pub(super) cursor: Cursor,
}

/// Where a replica stands, and where it will once a segment is committed: whichever is the position of its head is true.
pub(in crate::worker) type Places = [Place; 2];

impl Place {
    /// Where it stands; `None` if it was not raw bytes that brought it there, or the object has forgotten.
    pub(super) fn known(ledger: &Ledger, head: &Head) -> Result<Option<Self>, Failure> {
        let places = ledger.note::<Places>(NOTE)?;
        Ok(places.and_then(|places| places.into_iter().find(|place| place.position == head.position)))
    }

    /// The same, or why nothing can go on from there.
    pub(super) fn at(ledger: &Ledger, head: &Head) -> Result<Self, Failure> {
        Self::known(ledger, head)?.ok_or_else(|| {
            Failure::position_mismatch(
                head.position,
                "where that is in a WAL is not known here; send the database file, with the place in its WAL",
            )
            .with_code("wal_unknown")
        })
    }

    /// Notes them both.
    pub(in crate::worker) fn note(ledger: &Ledger, places: &Places) -> Result<(), Failure> {
        ledger.set_note(NOTE, places)
    }

    /// Where an upload starts: with the last frame that is held.
    pub(super) fn offset(&self) -> u64 {
        match self.cursor.frame {
            0 => 0,
            frame => frame_offset(self.cursor.page_size, frame),
        }
    }

    /// Where what is held ends.
    pub(super) fn end(&self) -> u64 {
        frame_offset(self.cursor.page_size, self.cursor.frame.saturating_add(1))
    }

    /// Why bytes do not go on from here; the answer tells what to send.
    pub(super) fn refuse(&self, code: &'static str, why: impl fmt::Display) -> Failure {
        let message = format!("The bytes do not go on from {}: {why}.", self.cursor.salts);
        Failure::new(409, code, message)
            .with_head(self.position)
            .with_header(WAL, self.to_string())
    }
}

impl FromJson for Place {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            position: json.get("position")?,
            cursor: json.get("cursor")?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt1, salt2] = self.cursor.salts.0;
        let (offset, end) = (self.offset(), self.end());
        write!(f, "salt1={salt1}&salt2={salt2}&offset={offset}&end={end}")
    }
}

/// `GET /v1/{db}/wal`
pub(in crate::worker) async fn get(request: &Request, replica: &Replica) -> Result<Response, Failure> {
    Query::of(request, &[])?;
    let head = replica.head().await?;
    told(200, head.position, Place::known(&replica.ledger, &head)?.as_ref())
}
