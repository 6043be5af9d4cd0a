//! Takes in a segment that is too large for one request, in parts.
//!
//! Each part says where it starts, and streams into a part of an R2 multipart upload while it is proven; how far the
//! proof has come is kept between parts. Nothing is visible before the last one: only then is the upload completed,
//! under the lock as any other creation. A part that breaks off is sent again. If the object forgets (it restarts), the
//! segment is sent again from its start.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use serde::Serialize;
use worker::{Data, Request, Response};

use super::body::Body;
use super::clock;
use super::entry::Entry;
use super::failure::Failure;
use super::gate::{self, Permit};
use super::intake::{Intake, Proven};
use super::json::answer;
use super::pipe::Pipe;
use super::query::Query;
use super::r2::R2Store;
use super::replica::Replica;
use super::upload::{Accepted, check_level, confirm, declared_size, take_header};
use crate::replica::{Position, SegmentId};

/// R2 takes no smaller ones, but the last.
const MIN_PART: u64 = 5 << 20;
const MAX_PARTS: u64 = 10_000;
/// What an upload takes between its parts: the decoder's tables and a page or two.
const RESTING_MEMORY: u64 = 512 << 10;
/// What a part takes while it comes: a second decoder, some chunks, the runtime's buffers.
const PART_MEMORY: u64 = 4 << 20;
/// An upload that is not gone on with for so long makes room for another.
const ABANDONED_MS: u64 = 10 * 60_000;

/// Where the client goes on, in the answer to a part.
pub(super) const OFFSET: &str = "Walferry-Offset";

/// The upload of a database that is under way, if one is.
#[derive(Debug, Default)]
pub(super) struct Parts(RefCell<Option<Rc<Upload>>>);

/// An upload between two parts. It stays as it is until the next part is taken in, whole: a part that breaks off, even
/// one whose request ends without a word, changes nothing.
#[derive(Debug)]
struct Upload {
    id: SegmentId,
    size: u64,
    /// How much has been taken in.
    offset: u64,
    /// The length of all parts but the last.
    part_size: u64,
    intake: Intake,
    /// R2's name for it, and for its parts.
    multipart: String,
    etags: Vec<String>,
    /// Void after a minute without a part; then its little memory is not counted.
    permit: Rc<Permit>,
    seen: u64,
}

#[derive(Serialize)]
struct Taken {
    offset: u64,
}

/// That a part is taken, and where the next one starts.
pub(super) fn goes_on(position: Position, offset: u64) -> Result<Response, Failure> {
    placed(answer(&Taken { offset }, 202, position)?, offset)
}

/// `PUT …/{min}-{max}.ltx?offset=&size=`
pub(super) async fn put(
    request: &Request,
    body: &mut Body,
    replica: &Replica,
    id: SegmentId,
) -> Result<Response, Failure> {
    check_level(id)?;
    let query = Query::of(request, &["offset", "size"])?;
    let (Some(offset), Some(size)) = (query.bytes("offset")?, query.bytes("size")?) else {
        let message = "A part says where it starts, and how long the whole segment is: offset and size.";
        return Err(Failure::bad_request("part_not_placed", message));
    };
    let length = declared_size(request)?;
    let is_last = offset.saturating_add(length) == size;
    body.expect(length, gate::enter(PART_MEMORY)?);
    let head = replica.head().await?;
    if replica.ledger.holds(id)? {
        return Err(Failure::position_mismatch(
            head.position,
            format_args!("it holds a segment {id}"),
        ));
    }

    let mut start = Vec::new();
    let (upload, mut intake) = if offset == 0 {
        replica.parts.make_room(replica, id).await?;
        check_length(0, length, size, length, is_last)?;
        let mut intake = Intake::new(id);
        let header = take_header(body, &mut intake, &mut start).await?;
        head.admits(id, &header)?;
        let upload = Upload {
            id,
            size,
            offset,
            part_size: length,
            intake: Intake::new(id),
            multipart: replica.store.create_multipart(id, Some(&header)).await?,
            etags: Vec::new(),
            permit: Rc::new(gate::enter(RESTING_MEMORY)?),
            seen: clock::now(),
        };
        (replica.parts.set(upload), intake)
    } else {
        let upload = replica.parts.at(id, size, offset)?;
        check_length(offset, length, size, upload.part_size, is_last)?;
        let intake = upload.intake.clone();
        (upload, intake)
    };
    let store = &replica.store;
    let taken = match take(store, &upload, start, body, &mut intake).await {
        Ok(etag) => replica.parts.go_on(&upload, length, intake, etag),
        Err(failure) => Err(failure),
    };
    let upload = match taken {
        Ok(upload) => upload,
        Err(failure) if failure.is_passing() => return Err(failure),
        Err(failure) => {
            replica.parts.end(&upload);
            store.abort(id, &upload.multipart).await;
            return Err(failure);
        }
    };
    if !is_last {
        fault_point!("part_taken");
        let offset = upload.offset;
        return goes_on(head.position, offset);
    }
    replica.parts.end(&upload);
    match upload.intake.clone().finish() {
        Ok(proven) => complete(replica, &upload, &proven).await,
        Err(failure) => {
            store.abort(id, &upload.multipart).await;
            Err(failure)
        }
    }
}

impl Parts {
    /// One at a time: another segment's upload makes room if it seems to be left.
    async fn make_room(&self, replica: &Replica, id: SegmentId) -> Result<(), Failure> {
        let Some(other) = self.0.borrow().clone() else {
            return Ok(());
        };
        if other.id != id && clock::now().saturating_sub(other.seen) < ABANDONED_MS {
            let message = format!(
                "The segment {} is being uploaded in parts; try again when it is done.",
                other.id
            );
            return Err(Failure::passing("upload_under_way", message));
        }
        self.end(&other);
        replica.store.abort(other.id, &other.multipart).await;
        Ok(())
    }

    fn set(&self, upload: Upload) -> Rc<Upload> {
        let upload = Rc::new(upload);
        self.0.replace(Some(upload.clone()));
        upload
    }

    /// The upload that goes on there.
    fn at(&self, id: SegmentId, size: u64, offset: u64) -> Result<Rc<Upload>, Failure> {
        let known = self.0.borrow().clone();
        let known = known.filter(|upload| (upload.id, upload.size) == (id, size));
        let expected = known.as_ref().map_or(0, |upload| upload.offset);
        match known {
            Some(upload) if offset == expected => {
                upload.permit.renew();
                Ok(upload)
            }
            _ => Err(misplaced(expected, offset)),
        }
    }

    /// After a part was taken in, unless the same part came twice at once and the other was faster.
    fn go_on(
        &self,
        upload: &Rc<Upload>,
        length: u64,
        intake: Intake,
        etag: String,
    ) -> Result<Rc<Upload>, Failure> {
        if !self
            .0
            .borrow()
            .as_ref()
            .is_some_and(|now| Rc::ptr_eq(now, upload))
        {
            return Err(Failure::passing(
                "upload_under_way",
                "The same part came twice at once; ask where it goes on.",
            ));
        }
        Ok(self.set(Upload {
            offset: upload.offset.saturating_add(length),
            intake,
            etags: upload.etags.iter().cloned().chain([etag]).collect(),
            permit: upload.permit.clone(),
            seen: clock::now(),
            multipart: upload.multipart.clone(),
            ..**upload
        }))
    }

    fn end(&self, upload: &Rc<Upload>) {
        let is_this = |now: &Rc<Upload>| now.multipart == upload.multipart;
        let mut place = self.0.borrow_mut();
        if place.as_ref().is_some_and(is_this) {
            *place = None;
        }
    }
}

pub(super) fn misplaced(expected: u64, offset: u64) -> Failure {
    let message = format!("The upload goes on at byte {expected}, not at {offset}.");
    Failure::new(409, "wrong_offset", message).with_header(OFFSET, expected.to_string())
}

fn check_length(offset: u64, length: u64, size: u64, part_size: u64, is_last: bool) -> Result<(), Failure> {
    let right = if is_last {
        length > 0 && length <= part_size
    } else {
        length >= MIN_PART
            && length == part_size
            && offset.saturating_add(length) < size
            && part_size.saturating_mul(MAX_PARTS) >= size
    };
    if right {
        return Ok(());
    }
    let message = format!(
        "There are {MAX_PARTS} parts at most; all but the last have the same length, of {MIN_PART} bytes at least, and \
         end within the segment."
    );
    Err(Failure::bad_request("wrong_part_length", message))
}

/// Streams a part into R2 while it is proven; returns R2's name for it.
async fn take(
    store: &R2Store,
    upload: &Upload,
    start: Vec<u8>,
    body: &mut Body,
    intake: &mut Intake,
) -> Result<String, Failure> {
    let (pipe, readable) = Pipe::new(body.size())?;
    let (before, data) = (upload.etags.len(), Data::ReadableStream(readable));
    let put = pin!(store.send_part(upload.id, &upload.multipart, before, data));
    let feed = pin!(async {
        pipe.write(&start).await;
        while let Some(chunk) = body.next().await? {
            intake.push(&chunk)?;
            pipe.write(&chunk).await;
        }
        pipe.close().await;
        Ok::<_, Failure>(())
    });
    match select(put, feed).await {
        Either::Right((Ok(()), put)) => Ok(put.await?),
        Either::Right((Err(failure), put)) => {
            pipe.abort().await;
            let _ = put.await;
            Err(failure)
        }
        // R2 took all of it before we saw the end, or failed.
        Either::Left((part, feed)) => {
            if part.is_err() {
                pipe.abort().await;
            }
            feed.await?;
            Ok(part?)
        }
    }
}

async fn complete(replica: &Replica, upload: &Upload, proven: &Proven) -> Result<Response, Failure> {
    let Upload { id, size, .. } = *upload;
    let completed = async {
        let entry = Entry::begin(replica, id, size, proven, None, Some(&upload.multipart)).await?;
        let created = replica.store.complete(id, &upload.multipart, &upload.etags).await;
        entry.end(created, None).await
    };
    match completed.await {
        Ok(position) => placed(answer(&Accepted { position }, 201, position)?, size),
        Err(_) if replica.ledger.holds(id)? => {
            confirm(replica, id, size, proven, replica.head().await?).await
        }
        Err(failure) => Err(failure),
    }
}

fn placed(mut response: Response, offset: u64) -> Result<Response, Failure> {
    response.headers_mut().set(OFFSET, &offset.to_string())?;
    Ok(response)
}
