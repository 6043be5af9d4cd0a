//! A proven segment's way into the replica, under its lock: the intent is recorded, then the object is created,
//! then it is committed. Cut off anywhere in between, the next who enters settles it.
//!
//! A short segment goes a shorter way: its bytes are kept in the ledger, by the same write that commits it. Upkeep takes
//! them from there into a level and into a bundle, and so into the bucket. Not so where an upload of its name was given up:
//! R2 may yet create that, and then there would be two.

use worker::Data;

use super::failure::Failure;
use super::followers::PUSHED;
use super::head::Head;
use super::intake::Proven;
use super::ledger::{Intent, State};
use super::lock::Guard;
use super::raw::{Place, Places};
use super::replica::Replica;
use crate::replica::{Level, Position, SegmentId};
use crate::store;

/// Up to here a segment is short.
const SHORT: usize = 64 << 10;
/// So many bytes are kept in the ledger at the most; what comes then goes into the bucket.
const KEPT: u64 = 16 << 20;

/// The right to create this one object now.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    replica: &'a Replica,
    guard: Guard<'a>,
    head: Head,
    intent: Intent,
}

impl<'a> Entry<'a> {
    /// Waits for its turn, and makes sure that the segment goes on from where the replica then stands. With the intent it
    /// notes where in a WAL that is, and will be, and R2's name for the upload in parts that becomes it.
    pub(super) async fn begin(
        replica: &'a Replica,
        id: SegmentId,
        size: u64,
        proven: &Proven,
        places: Option<&Places>,
        multipart: Option<&str>,
    ) -> Result<Self, Failure> {
        let (guard, head) = admitted(replica, id, proven).await?;
        if let Some(places) = places {
            Place::note(&replica.ledger, places)?;
        }
        let intent = Intent::new(id, size, &proven.header, proven.checksum, multipart);
        replica.ledger.set(&State::known(head, Some(intent.clone())))?;
        // R2 must not be ahead of it.
        replica.ledger.sync().await?;
        fault_point!("intent_recorded");
        Ok(Self {
            replica,
            guard,
            head,
            intent,
        })
    }

    /// Creates a segment whose bytes are all at hand.
    pub(super) async fn create(
        replica: &'a Replica,
        id: SegmentId,
        bytes: Vec<u8>,
        proven: &Proven,
        places: Option<&Places>,
    ) -> Result<Position, Failure> {
        let len = bytes.len() as u64;
        let is_kept = replica.keeps_short
            && id.level == Level::RAW
            && bytes.len() <= SHORT
            && replica.ledger.kept_bytes()?.saturating_add(len) <= KEPT;
        if is_kept {
            let (guard, head) = admitted(replica, id, proven).await?;
            guard.check()?;
            if !replica.ledger.is_late(id)? {
                // All of it is written together, and nobody hears of it before it stays.
                if let Some(places) = places {
                    Place::note(&replica.ledger, places)?;
                }
                let head = head.after(id, len, &proven.header);
                replica.keep(head, id, &proven.header, bytes)?;
                fault_point!("kept");
                return Ok(head.position);
            }
        }
        let pushed = (bytes.len() <= PUSHED).then(|| bytes.clone());
        let entry = Self::begin(replica, id, len, proven, places, None).await?;
        let created = replica.store.put(id, Data::Bytes(bytes), Some(&proven.header));
        let created = created.await;
        entry.end(created, pushed.as_deref()).await
    }

    /// After the attempt to create the object: whether it was created, or one of its name was there. Its bytes go to the
    /// followers, if they are at hand.
    pub(super) async fn end(
        self,
        created: store::Result<bool>,
        bytes: Option<&[u8]>,
    ) -> Result<Position, Failure> {
        fault_point!("object_created");
        let Self {
            replica,
            guard,
            head,
            intent,
        } = &self;
        if let (Ok(true), Some(found)) = (&created, intent.found())
            && let Some(header) = &found.header
        {
            guard.check()?;
            let head = head.after(intent.id, intent.size, header);
            replica.commit(head, &found, bytes)?;
            fault_point!("committed");
            return Ok(head.position);
        }
        let settled = replica.settle(guard, *head, intent).await?;
        if replica.ledger.holds(intent.id)? {
            // An earlier attempt created it, and did not live to say so.
            return Ok(settled.position);
        }
        match created {
            Ok(_) => Err(self.adopt(settled).await?),
            Err(error) => Err(error.into()),
        }
    }

    /// Another segment of its name is there, left by an upload that was cut off: if it goes on from the head it is the
    /// replica's, and the one that came now is not. Says why that is refused.
    async fn adopt(&self, head: Head) -> Result<Failure, Failure> {
        let id = self.intent.id;
        let found = self.replica.store.found(id).await?;
        let admitted = found
            .header
            .as_ref()
            .filter(|header| head.admits(id, header).is_ok());
        let Some(header) = admitted else {
            let message = format!(
                "An object {id} is in the bucket that does not follow the replica, which stands at {}; delete it there.",
                head.position
            );
            return Ok(Failure::new(409, "segment_in_the_way", message));
        };
        self.guard.check()?;
        let head = head.after(id, found.info.size, header);
        self.replica.commit(head, &found, None)?;
        Ok(Failure::position_mismatch(
            head.position,
            format_args!("it holds another segment {id}"),
        ))
    }
}

/// Waits for its turn, and for where the replica then stands, if the segment goes on from there.
async fn admitted<'a>(
    replica: &'a Replica,
    id: SegmentId,
    proven: &Proven,
) -> Result<(Guard<'a>, Head), Failure> {
    let guard = replica.lock.enter().await?;
    let head = replica.settled(&guard).await?;
    if replica.ledger.holds(id)? {
        return Err(Failure::position_mismatch(
            head.position,
            format_args!("it holds a segment {id}"),
        ));
    }
    head.admits(id, &proven.header)?;
    head.admits_content(proven)?;
    Ok((guard, head))
}
