//! What the file says of itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Finding, beside};
use crate::ltx::PageSize;

/// The page size in a database's header, where there is one.
pub(super) fn page_size(header: &[u8; 100]) -> Option<PageSize> {
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] = *header;
    PageSize::new(match u16::from_be_bytes([high, low]) {
        1 => 65_536,
        other => u32::from(other),
    })
    .ok()
}

pub(super) fn findings(database: &Path) -> Vec<Finding> {
    let shown = database.display();
    let damaged = |what: String| {
        vec![Finding::error(
            "damaged",
            format!("{shown}: {what}"),
            "Check it with PRAGMA integrity_check on a copy; restore it from the replica if it is damaged.",
        )]
    };
    let Ok(file) = File::open(database) else {
        return Vec::new();
    };
    let len = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    let wal_len = std::fs::metadata(beside(database, "-wal")).map_or(0, |metadata| metadata.len());
    if len == 0 {
        if wal_len > 0 {
            // All there is, is in the WAL still.
            return Vec::new();
        }
        return vec![Finding::warning(
            "empty",
            format!("{shown} is empty"),
            "To SQLite it is a new database, not in WAL mode yet: PRAGMA journal_mode=wal, or --set-wal.",
        )];
    }
    let mut header = [0; 100];
    if file.read_exact_at(&mut header, 0).is_err() {
        return damaged(format!("it has {len} bytes, less than a header"));
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return vec![Finding::error(
            "not-sqlite",
            format!("{shown} is not an SQLite database: its first bytes are others"),
            "Check the path. A database that is encrypted as a whole (SQLCipher) cannot be followed.",
        )];
    }
    let Some(size) = page_size(&header) else {
        return damaged("its header names an impossible page size".to_owned());
    };
    let mut findings = Vec::new();
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        write,
        read,
        reserved,
        max,
        min,
        leaf,
        ..,
    ] = header;
    match (write, read) {
        (2, 2) => {}
        (1, 1) => findings.push(Finding::error(
            "not-wal",
            format!("{shown} is not in WAL mode"),
            "Run PRAGMA journal_mode=wal once, in the application's own connection, or start with --set-wal.",
        )),
        _ => findings.extend(damaged(format!("its header names versions {write} and {read}"))),
    }
    if [max, min, leaf] != [64, 32, 32] || u32::from(reserved) > size.get().saturating_sub(480) {
        findings.extend(damaged(
            "its header holds values that SQLite never writes".to_owned(),
        ));
    }
    // A page that is being written at the end may be cut; one that stays cut is damage.
    if !len.is_multiple_of(u64::from(size.get())) {
        findings.push(Finding::warning(
            "cut",
            format!("{shown} has {len} bytes, which is no whole number of its pages of {} bytes", size.get()),
            "If it stays so, it was cut off (a full disk, a broken copy): check it with PRAGMA integrity_check.",
        ));
    }
    findings
}
