//! Whether a segment may be served: only what is committed is.
//!
//! What was committed once stays so, and an isolate remembers it: a restore asks the Durable Object once a segment,
//! not once a range. Not so a segment that the object keeps itself.

use std::cell::RefCell;
use std::collections::HashSet;

use worker::{Method, Request, Stub};

use super::at_least::AT_LEAST;
use super::failure::Failure;
use super::route::Db;
use crate::replica::SegmentId;

/// Segments to remember; some 100 bytes each.
const MAX_KNOWN: usize = 10_000;

thread_local! {
    static KNOWN: RefCell<HashSet<(Db, SegmentId)>> = RefCell::default();
}

/// Where the bytes of a segment are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Bucket,
    /// In the database's object, which serves them.
    Object,
    /// It is not committed.
    Nowhere,
}

/// To be called when it is not where it was: the history that it was of may have been replaced.
pub(super) fn forget(db: Db, id: SegmentId) {
    KNOWN.with_borrow_mut(|known| known.remove(&(db, id)));
}

/// Asks the database, unless it is known.
pub(super) async fn place(
    database: &Stub,
    request: &Request,
    db: &Db,
    id: SegmentId,
) -> Result<Place, Failure> {
    let segment = (db.clone(), id);
    if KNOWN.with_borrow(|known| known.contains(&segment)) {
        return Ok(Place::Bucket);
    }
    let mut question = Request::new(&request.inner().url(), Method::Head)?;
    let at_least = request.headers().get(AT_LEAST)?;
    if let Some(at_least) = &at_least {
        question.headers_mut()?.set(AT_LEAST, at_least)?;
    }
    let answer = database.fetch_with_request(question).await?;
    match answer.status_code() {
        // Of what it keeps itself, it tells all.
        200 if answer.headers().has("ETag")? => Ok(Place::Object),
        200 => {
            KNOWN.with_borrow_mut(|known| {
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                known.insert(segment);
            });
            Ok(Place::Bucket)
        }
        404 => Ok(Place::Nowhere),
        400 if at_least.is_some() => Err(Failure::bad_request(
            "invalid_txid",
            format!("The header {AT_LEAST} is no TXID."),
        )),
        503 if at_least.is_some() => Err(Failure::passing(
            "not_there_yet",
            format!("The replica did not come to what {AT_LEAST} says in time."),
        )),
        _ => Err(Failure::passing(
            "database_unavailable",
            "The database does not answer at this moment; try again.",
        )),
    }
}
