//! `PUT /v1/{db}/db`: a database file, as a first snapshot, or for the pages by which it differs from what is held.

use worker::{Request, Response};

use super::segment::{Cut, MEMORY};
use super::told;
use crate::ltx::{PageSize, Pgno};
use crate::wal::{ByteOrder, Checksum, Cursor, Salts};
use crate::worker::body::Body;
use crate::worker::failure::Failure;
use crate::worker::gate;
use crate::worker::query::Query;
use crate::worker::raw::place::Place;
use crate::worker::replica::Replica;
use crate::worker::upload::declared_size;

/// The header of a database; source: sqlite.org/fileformat2.html, section 1.3.
const HEADER: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The parameters that say which frame of which WAL was the last to be copied into the file.
const PLACE: [&str; 5] = ["salt1", "salt2", "frame", "checksum1", "checksum2"];

pub(in crate::worker) async fn put(
    request: &Request,
    body: &mut Body,
    replica: &Replica,
) -> Result<Response, Failure> {
    let [salt1, salt2, frame, checksum1, checksum2] = PLACE;
    let query = Query::of(request, &["after", salt1, salt2, frame, checksum1, checksum2])?;
    let after = query.txid("after")?.unwrap_or_default();
    let size = declared_size(request)?;
    body.expect(size, gate::enter(MEMORY)?);
    let head = replica.head().await?;
    if head.position.txid != after {
        let why = format!(
            "a database file is taken after transaction {after}; to have the pages that differ taken, say after={}",
            head.position.txid
        );
        return Err(Failure::position_mismatch(head.position, why));
    }
    let mut start: Vec<u8> = Vec::new();
    while start.len() < HEADER {
        match body.next().await? {
            Some(chunk) => start.extend_from_slice(&chunk),
            None => return Err(invalid("it is shorter than a header")),
        }
    }
    let header = start
        .first_chunk()
        .ok_or_else(|| invalid("it is shorter than a header"))?;
    let (page_size, commit) = parse(header, size)?;
    if head.page_size.is_some_and(|known| known != page_size) {
        let message = "The database file is refused: its pages have another size than the replica's.";
        return Err(Failure::new(422, "page_size_mismatch", message));
    }
    let cursor = cursor(&query, page_size)?;

    let mut cut = Cut::new(replica, head, page_size, commit).await?;
    if let Err(failure) = feed(&mut cut, start, body, page_size).await {
        cut.abort().await;
        return Err(failure);
    }
    let (position, is_new) = cut.create(commit, cursor).await?;
    let place = cursor.map(|cursor| Place { position, cursor });
    told(if is_new { 201 } else { 200 }, position, place.as_ref())
}

async fn feed(
    cut: &mut Cut<'_>,
    mut pages: Vec<u8>,
    body: &mut Body,
    page_size: PageSize,
) -> Result<(), Failure> {
    let mut pgno = Pgno(0);
    loop {
        let whole = pages.chunks_exact(page_size.len());
        let rest = whole.remainder().to_vec();
        for page in whole {
            pgno = Pgno(pgno.0.saturating_add(1));
            if pgno != page_size.lock_page() {
                cut.page(pgno, page)?;
            }
        }
        cut.make_room().await?;
        pages = rest;
        match body.next().await? {
            Some(chunk) => pages.extend_from_slice(&chunk),
            None => return Ok(()),
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
