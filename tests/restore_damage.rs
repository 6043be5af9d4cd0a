//! Whatever happens to a replica's objects, a restore tells it, ends with its exit code, and leaves nothing.
#![cfg(feature = "native")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Destination, assert_same_file, restore, restore_ok, run_app, walferry};

const DAMAGED: Option<i32> = Some(7);

struct Place {
    folder: tempfile::TempDir,
    destination: Destination,
}

impl Place {
    /// A replica of three segments: the first copy, and two transactions.
    fn new(codec: &str) -> Self {
        Self::with_rows(codec, "row")
    }

    fn with_rows(codec: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, replica) = (folder.path().join("app.db"), folder.path().join("replica"));
        let destination = Destination::Folder(replica);
        let db = database.to_str().unwrap();
        run_app(&["create", db, "4096", "none"]);
        for round in 0..3 {
            if round > 0 {
                run_app(&["commit", db, &format!("{text} {round}")]);
            }
            let mut command = walferry();
            command.args(["replicate", "--once", "--codec", codec, db, &destination.url()]);
            assert!(command.status().unwrap().success());
        }
        run_app(&["finish", db]);
        Self { folder, destination }
    }

    fn segment(&self, txid: u64) -> PathBuf {
        // The first copy is a snapshot.
        let level = if txid == 1 { 9 } else { 0 };
        self.folder
            .path()
            .join(format!("replica/ltx/{level}/{txid:016x}-{txid:016x}.ltx"))
    }

    /// Restores; nothing may come out but a sentence that holds `hint`.
    fn refuses(&self, what: &str, hint: &str) {
        assert!(self.is_refused(what, hint), "{what} is not noticed");
    }

    /// Restores; what comes out is the database, whole, or a sentence and nothing else.
    fn is_refused(&self, what: &str, hint: &str) -> bool {
        let out = self.folder.path().join("out.db");
        let output = restore(&self.destination, &out, &[]);
        if output.status.success() {
            assert_same_file(&self.folder.path().join("app.db"), &out, 4096);
            fs::remove_file(out).unwrap();
            return false;
        }
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), DAMAGED, "{what}: {stderr}");
        assert!(stderr.contains(hint), "{what}: {stderr}");
        let left = fs::read_dir(self.folder.path()).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = left.filter(|name| name.contains("out.db")).collect();
        assert!(left.is_empty(), "{what} leaves {left:?}");
        true
    }

    fn is_whole(&self) {
        let out = self.folder.path().join("out.db");
        restore_ok(&self.destination, &out);
        assert_same_file(&self.folder.path().join("app.db"), &out, 4096);
        fs::remove_file(out).unwrap();
    }

    /// What `change` makes of a segment, and back.
    fn with(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>), test: impl FnOnce()) {
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        change(&mut bytes);
        assert_ne!(bytes, whole);
        fs::write(path, &bytes).unwrap();
        test();
        fs::write(path, &whole).unwrap();
    }
}

#[test]
fn truncated_segments() {
    let place = Place::new("lz4");
    for txid in 1..=3 {
        let path = place.segment(txid);
        let len = fs::metadata(&path).unwrap().len() as usize;
        let name = format!("-{txid:016x}.ltx is damaged");
        for keep in [0, 1, 50, 99, 100, 120, len / 2, len - 24, len - 1] {
            let what = format!("segment {txid} cut to {keep} of {len} bytes");
            place.with(
                &path,
                |bytes| bytes.truncate(keep),
                || place.refuses(&what, &name),
            );
        }
        place.with(
            &path,
            |bytes| bytes.push(0),
            || place.refuses("a longer one", &name),
        );
    }
    place.is_whole();
}

/// One bit in each part of a segment, in each codec.
#[test]
fn tampered_segments() {
    for codec in ["lz4", "lz4-frame", "deflate", "stored"] {
        let place = Place::new(codec);
        for txid in 1..=3 {
            let path = place.segment(txid);
            let len = fs::metadata(&path).unwrap().len() as usize;
            for (part, at) in [
                ("magic", 0),
                ("flags", 7),
                ("page size", 9),
                ("commit", 15),
                ("first TXID", 23),
                ("last TXID", 31),
                ("sum before", 91),
                ("sum after", 99),
                ("page number", 103),
                ("page flags", 105),
                ("payload", 180),
                ("index", len - 26),
                ("index length", len - 17),
            ] {
                let what = format!("{codec}: {part} of segment {txid}");
                place.with(
                    &path,
                    |bytes| bytes[at] ^= 0x10,
                    || {
                        let refused = place.is_refused(&what, "");
                        // Of older segments, what newer ones replace is not read. LZ4 has many ways to pack the same
                        // page: a change from one to another is no harm.
                        let harmless =
                            (txid < 3 && at > 99) || (part == "payload" && codec.starts_with("lz4"));
                        assert!(refused || harmless, "{what} is not noticed");
                    },
                );
            }
        }
        place.is_whole();
    }
}

#[test]
fn missing_and_swapped_segments() {
    let place = Place::new("lz4");
    let (second, third) = (place.segment(2), place.segment(3));
    let bytes = fs::read(&second).unwrap();

    fs::remove_file(&second).unwrap();
    place.refuses("a segment in the middle is gone", "gap");
    fs::write(&second, fs::read(&third).unwrap()).unwrap();
    place.refuses(
        "a segment stands under another's name",
        "not the segment that its name says",
    );
    fs::write(&second, &bytes).unwrap();

    let first = fs::read(place.segment(1)).unwrap();
    fs::remove_file(place.segment(1)).unwrap();
    place.refuses("the first copy is gone", "no snapshot");
    fs::write(place.segment(1), first).unwrap();
    place.is_whole();
}

/// A segment of another database, whole in itself and under the right name.
#[test]
fn segments_of_another_history() {
    let (place, other) = (Place::new("lz4"), Place::with_rows("deflate", "other"));
    let other_db = other.folder.path().join("app.db");
    run_app(&["commit", other_db.to_str().unwrap(), "another row"]);
    let status = walferry()
        .args(["replicate", "--once"])
        .arg(&other_db)
        .arg(other.destination.url())
        .status();
    assert!(status.unwrap().success());
    fs::copy(other.segment(4), place.segment(4)).unwrap();
    place.refuses("a segment of another database", "different histories");
    fs::remove_file(place.segment(4)).unwrap();
    place.is_whole();
}
