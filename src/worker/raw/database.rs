//! `PUT /v1/{db}/db`: a database file, as a first snapshot, or for the pages by which it differs from what is held. One that
//! is too large for a request comes in parts: `?offset=&size=`.

use worker::{Request, Response};

use super::segment::{Cut, memory, too_large};
use super::told;
use super::underway::{File, Underway, Upload};
use crate::ltx::PageSize;
use crate::wal::{ByteOrder, Checksum, Cursor, Salts};
use crate::worker::body::Body;
use crate::worker::failure::Failure;
use crate::worker::gate;
use crate::worker::parts::{goes_on, misplaced};
use crate::worker::query::Query;
use crate::worker::raw::place::Place;
use crate::worker::replica::Replica;
use crate::worker::upload::declared_size;

/// The header of a database; source: sqlite.org/fileformat2.html, section 1.3.
const HEADER: usize = 100;
/// What a request takes beside the cut: a chunk, and the runtime's buffers.
const REQUEST_MEMORY: u64 = 512 << 10;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The parameters that say which frame of which WAL was the last to be copied into the file.
const PLACE: [&str; 5] = ["salt1", "salt2", "frame", "checksum1", "checksum2"];

pub(in crate::worker) async fn put(
    request: &Request,
    body: &mut Body,
    replica: &Replica,
) -> Result<Response, Failure> {
    let [salt1, salt2, frame, checksum1, checksum2] = PLACE;
    let known = [
        "after", salt1, salt2, frame, checksum1, checksum2, "offset", "size",
    ];
    let query = Query::of(request, &known)?;
    let after = query.txid("after")?.unwrap_or_default();
    let length = declared_size(request)?;
    let (offset, size) = match (query.bytes("offset")?, query.bytes("size")?) {
        (None, None) => (0, length),
        (Some(offset), Some(size)) => (offset, size),
        _ => {
            let message = "A part says where it starts, and how long the whole file is: offset and size.";
            return Err(Failure::bad_request("part_not_placed", message));
        }
    };
    let end = offset.saturating_add(length);
    if end > size || (length == 0 && size > 0) {
        let message = "A part has some bytes, and ends within the file.";
        return Err(Failure::bad_request("wrong_part_length", message));
    }
    // What comes at once is of nobody else's concern.
    let underway = match length == size {
        true => Underway::default(),
        false => replica.file.clone(),
    };
    body.expect(length, gate::enter(REQUEST_MEMORY)?);
    let head = replica.head().await?;
    let mut start: Vec<u8> = Vec::new();
    let turn = if offset == 0 {
        if head.position.txid != after {
            let why = format!(
                "a database file is taken after transaction {after}; to have the pages that differ taken, say after={}",
                head.position.txid
            );
            return Err(Failure::position_mismatch(head.position, why));
        }
        let header = take_header(body, &mut start).await?;
        let (page_size, commit) = parse(&header, size)?;
        if head.page_size.is_some_and(|known| known != page_size) {
            let message = "The database file is refused: its pages have another size than the replica's.";
            return Err(Failure::new(422, "page_size_mismatch", message));
        }
        let file = File {
            size,
            after,
            page_size,
            cursor: cursor(&query, page_size)?,
        };
        let memory = memory(page_size, commit).ok_or_else(too_large)?;
        // It gives its memory back.
        underway.end(replica).await;
        let permit = gate::enter_with(memory, Some(underway.give_up()))?;
        let cut = Cut::new(replica, head, page_size, commit).await?;
        underway.begin(replica, Upload::new(file, cut, permit)).await
    } else {
        let is_same = |file: &File| {
            (file.size, file.after) == (size, after)
                && cursor(&query, file.page_size).is_ok_and(|cursor| cursor == file.cursor)
        };
        underway.go_on(replica, head.position, offset, is_same).await?
    };

    let fed = underway.feed(replica, turn, &start, body).await;
    let in_vain = match &fed {
        Err(failure) if failure.is_passing() && length < size => underway.take_unsound(turn),
        Err(_) => underway.take(turn),
        Ok(_) => None,
    };
    if let Some(upload) = in_vain {
        upload.cut.abort(replica).await;
    }
    let offset = fed?;
    if offset < size {
        fault_point!("raw_part_taken");
        return goes_on(head.position, offset);
    }
    let Some(Upload { file, cut, .. }) = underway.take(turn) else {
        return Err(misplaced(0, size));
    };
    let commit = size.checked_div(file.page_size.len() as u64).unwrap_or_default();
    let commit = u32::try_from(commit).unwrap_or(u32::MAX);
    let (position, is_new) = cut.create(replica, commit, file.cursor).await?;
    let place = file.cursor.map(|cursor| Place { position, cursor });
    told(if is_new { 201 } else { 200 }, position, place.as_ref())
}

async fn take_header(body: &mut Body, start: &mut Vec<u8>) -> Result<[u8; HEADER], Failure> {
    loop {
        if let Some(header) = start.first_chunk() {
            return Ok(*header);
        }
        match body.next().await? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None => return Err(invalid("it is shorter than a header")),
        }
    }
}

/// The size of the pages, and how many there are.
fn parse(header: &[u8; HEADER], size: u64) -> Result<(PageSize, u32), Failure> {
    if !header.starts_with(MAGIC) {
        return Err(invalid("it does not start as SQLite's do"));
    }
    let word = |at: usize| {
        header
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or_default()
    };
    let number = |at: usize| u32::from_be_bytes(word(at));
    // 1 stands for 65536, which two bytes cannot hold.
    let page_size = match number(16) >> 16 {
        1 => 65_536,
        bytes => bytes,
    };
    let page_size = PageSize::new(page_size).map_err(|_| invalid("its page size is none that SQLite has"))?;
    let pages = size.checked_div(u64::from(page_size.get())).unwrap_or_default();
    let commit = u32::try_from(pages).unwrap_or(u32::MAX);
    if commit == 0 || page_size.file_size(commit) != size {
        return Err(invalid("its length is no multiple of its page size"));
    }
    // The size in the header holds if the version that wrote it is the last that changed the file.
    let (told, changes, told_at) = (number(28), number(24), number(92));
    if told != 0 && changes == told_at && told != commit {
        let why =
            format!("its header says that it has {told} pages, and it has {commit}: is it checkpointed?");
        return Err(invalid(&why));
    }
    Ok((page_size, commit))
}

/// Where in its WAL the file stands, if the client says so.
fn cursor(query: &Query, page_size: PageSize) -> Result<Option<Cursor>, Failure> {
    let mut numbers = [0; PLACE.len()];
    let mut given = 0;
    for (number, name) in numbers.iter_mut().zip(PLACE) {
        if let Some(value) = query.number(name, 0..=u32::MAX)? {
            *number = value;
            given = usize::saturating_add(given, 1);
        }
    }
    let [salt1, salt2, frame, s1, s2] = numbers;
    match given {
        0 => Ok(None),
        5 => Ok(Some(Cursor {
            // As every machine writes it that SQLite is met on.
            order: ByteOrder::Little,
            page_size,
            salts: Salts([salt1, salt2]),
            frame,
            checksum: Checksum { s1, s2 },
        })),
        _ => {
            let message = format!(
                "Where in its WAL a database file stands is said by all of {}, or by none.",
                PLACE.join(", ")
            );
            Err(Failure::bad_request("wal_not_placed", message))
        }
    }
}

fn invalid(why: &str) -> Failure {
    Failure::new(
        422,
        "invalid_database",
        format!("The database file is refused: {why}."),
    )
}
