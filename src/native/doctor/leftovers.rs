//! What Litestream left in and beside a database.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Finding, file_name};

pub(super) fn findings(database: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = database.display();
    let folder = database.with_file_name(format!(".{}-litestream", file_name(database)));
    if folder.is_dir() {
        findings.push(Finding::note(
            "litestream-folder",
            format!("Litestream left {}", folder.display()),
            "walferry does not use it. When you are sure that you stay, remove it.",
        ));
    }
    let tables = tables(database).unwrap_or_default();
    if !tables.is_empty() {
        let drops: Vec<String> = tables
            .iter()
            .map(|table| format!("DROP TABLE {table};"))
            .collect();
        findings.push(Finding::note(
            "litestream-tables",
            format!("Litestream left {} in {shown}", tables.join(" and ")),
            format!(
                "They do no harm. When you are sure that you stay: {}",
                drops.join(" ")
            ),
        ));
    }
    findings
}

/// Of those that Litestream makes, the ones that are there. Read from the file alone, without locks and without
/// making a -wal or -shm: what is only in the WAL still is missed, which costs a note.
fn tables(database: &Path) -> rusqlite::Result<Vec<String>> {
    let mut uri = String::from("file:");
    for byte in database.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02x}"));
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri, flags)?;
    let mut statement = db.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('_litestream_seq', '_litestream_lock') \
         ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}
