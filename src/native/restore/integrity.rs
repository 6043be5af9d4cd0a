//! What SQLite itself says of a restored database.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Error;

/// How much SQLite looks at after a restore. The sums prove already that the pages are those that were shipped: this
/// shows what was wrong with the database before it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntegrityCheck {
    /// Nothing.
    #[default]
    None,
    /// `PRAGMA quick_check`
    Quick,
    /// `PRAGMA integrity_check`: indexes against their tables too.
    Full,
}

/// Checks the file at `path`, which nobody else uses. Takes long for a large database: to be run on a thread.
pub(super) fn check(path: &Path, level: IntegrityCheck) -> Result<(), Error> {
    let pragma = match level {
        IntegrityCheck::None => return Ok(()),
        IntegrityCheck::Quick => "PRAGMA quick_check(1)",
        IntegrityCheck::Full => "PRAGMA integrity_check(1)",
    };
    let complaint = ask(path, pragma).unwrap_or_else(|error| Some(error.to_string()));
    complaint.map_or(Ok(()), |complaint| Err(Error::Integrity(complaint)))
}

/// What SQLite complains of.
fn ask(path: &Path, pragma: &str) -> rusqlite::Result<Option<String>> {
    // Nothing may appear beside the file: no -wal, no -shm.
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri, flags)?;
    let answer: String = db.query_row(pragma, [], |row| row.get(0))?;
    Ok((answer != "ok").then_some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_lost_a_row_is_seen_by_the_full_check() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a db%41?.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "PRAGMA page_size = 512; CREATE TABLE t (x); CREATE INDEX i ON t (x);
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500) INSERT INTO t SELECT n FROM n",
        )
        .unwrap();
        check(&path, IntegrityCheck::Full).unwrap();
        // SQLite takes this for an index of another table, which holds other rows.
        db.execute_batch(
            "PRAGMA writable_schema = on;
             CREATE TABLE u (x); CREATE INDEX j ON u (x);
             UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'j') WHERE name = 'i';
             DELETE FROM sqlite_schema WHERE name = 'j'",
        )
        .unwrap();
        drop(db);
        check(&path, IntegrityCheck::None).unwrap();
        let error = check(&path, IntegrityCheck::Full).unwrap_err();
        assert!(matches!(error, Error::Integrity(_)), "{error}");
        std::fs::write(&path, [7; 4096]).unwrap();
        assert!(matches!(
            check(&path, IntegrityCheck::Quick),
            Err(Error::Integrity(_))
        ));
    }
}
