//! Whatever is changed in a segment, the decoder says so.
//!
//! The file checksum covers what pages unpack to, not how they are packed. A change in a payload that unpacks to the
//! same page is no harm, and only there may a change go unnoticed.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use std::collections::BTreeMap;

use segments::content::Fill;
use segments::raw::{Frame, HEADER_FIELDS, Raw};
use segments::{Segment, decode, encode};
use walferry::ltx::index;
use walferry::ltx::{Codec, DbSum, Error, Header, PageSize, Pgno, Sums, Timestamp, Txid};

const SIZE: usize = 512;

/// What is said of a change, and the change.
type Change = (&'static str, fn(&mut Raw));

/// A part of a database in one codec, written by the second writer.
fn raw(codec: Codec) -> Raw {
    let sums = Sums {
        before: DbSum(0x0102_0304_0506_0708),
        after: DbSum(0x1112_1314_1516_1718),
    };
    let header = Header {
        wal_offset: 32,
        wal_size: 4120,
        wal_salts: [0x1122_3344, 0x5566_7788],
        node_id: 7,
        ..Header::new(
            size(),
            9,
            (Txid(6), Txid(10)),
            Timestamp(1_700_000_000_123),
            Some(sums),
        )
    };
    let data: Vec<(Pgno, Vec<u8>)> = [(2, Fill::Rows(3)), (4, Fill::Zeros), (9, Fill::Mixed(5))]
        .map(|(pgno, fill)| (Pgno(pgno), fill.page(SIZE)))
        .into();
    let bytes = encode(&header, codec, data.iter().map(|(pgno, page)| (*pgno, &page[..]))).unwrap();
    let frames = decode(&bytes).unwrap().pages.into_iter().map(|page| {
        let check = page.codec.has_check().then_some(page.crc.0);
        let len = page.payload.len() as u32 + if check.is_some() { 8 } else { 0 };
        Frame {
            pgno: page.pgno.0,
            flags: flags(page.codec),
            size: (page.codec != Codec::Lz4Frame).then_some(len),
            payload: page.payload,
            check,
            page: page.data,
        }
    });
    let raw = Raw::new(header.encode(), frames.collect());
    assert!(raw.bytes() == bytes, "both writers write the same");
    raw
}

/// Every bit of a file of each codec, one by one.
#[test]
fn every_flipped_bit_is_seen() {
    for codec in Codec::ALL {
        let raw = raw(codec);
        let good = raw.bytes();
        let expected = decode(&good).unwrap();
        let mut harmless = 0;
        let mut seen_by: BTreeMap<&str, u32> = BTreeMap::new();
        for (field, range) in raw.fields() {
            for at in range {
                for bit in 0..8 {
                    let mut bytes = good.clone();
                    bytes[at] ^= 1 << bit;
                    match decode(&bytes) {
                        Err(error) if field == "payload" => *seen_by.entry(kind(&error)).or_default() += 1,
                        Err(_) => {}
                        Ok(found) if field == "payload" => {
                            assert!(
                                same(&found, &expected),
                                "{codec}: bit {bit} of byte {at} changes a page"
                            );
                            harmless += 1;
                        }
                        Ok(_) => panic!("{codec}: bit {bit} of byte {at}, in {field}, is not seen"),
                    }
                }
            }
        }
        println!("{codec}: {harmless} harmless bits; the others in payloads are seen by {seen_by:?}");
        // Our own codecs see it at once, legacy frames by their own checksum, blocks at the end of the file.
        let by_file_checksum = seen_by.contains_key("file checksum");
        assert_eq!(by_file_checksum, codec == Codec::Lz4, "{codec}: {seen_by:?}");
    }
}

/// One change to each field, and what is said about it.
#[test]
fn every_field_has_its_sentence() {
    const CHECKSUM: &str = "the file is damaged: its checksum is";
    let said = [
        ("magic", "not an LTX file"),
        ("flags", "the header has unknown flags"),
        ("page size", "is not a page size"),
        (
            "commit",
            "page 9 is out of place: it is beyond the end of the database",
        ),
        ("min TXID", CHECKSUM),
        ("max TXID", CHECKSUM),
        ("timestamp", CHECKSUM),
        (
            "pre-apply checksum",
            "it has a checksum and says that it has none",
        ),
        ("WAL offset", CHECKSUM),
        ("WAL size", CHECKSUM),
        ("WAL salt 1", CHECKSUM),
        ("WAL salt 2", CHECKSUM),
        ("node id", CHECKSUM),
        ("WFC1 tag", CHECKSUM),
        ("sum before", CHECKSUM),
        ("sum after", CHECKSUM),
        (
            "page number",
            "page 3 is damaged: its check does not match its content",
        ),
        ("page flags", "page 2 has unknown flags 0x0005"),
        ("payload size", "page 2 does not decompress"),
        (
            "payload",
            "page 2 is damaged: its check does not match its content",
        ),
        (
            "page check",
            "page 2 is damaged: its check does not match its content",
        ),
        ("end marker", "page 0 has unknown flags 0x0001"),
        (
            "index: page",
            "the page index is invalid: it does not describe the frames",
        ),
        (
            "index: offset",
            "the page index is invalid: it does not describe the frames",
        ),
        (
            "index: length",
            "the page index is invalid: it does not describe the frames",
        ),
        (
            "index terminator",
            "the page index is invalid: it does not describe the frames",
        ),
        (
            "index length",
            "the page index is invalid: it does not describe the frames",
        ),
        (
            "post-apply checksum",
            "the trailer is invalid: it has a checksum of the state after",
        ),
        ("file checksum", CHECKSUM),
    ];
    let raw = raw(Codec::Stored);
    let fields = raw.fields();
    assert!(
        fields
            .iter()
            .all(|(name, _)| said.iter().any(|(field, _)| field == name))
    );
    for (name, expected) in said {
        let (_, range) = fields.iter().find(|(field, _)| field == name).expect(name);
        let mut bytes = raw.bytes();
        bytes[range.end - 1] ^= 1;
        let message = decode(&bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
    }
}

/// Values that are wrong in themselves are refused though the file checksum is right.
#[test]
fn a_right_checksum_does_not_excuse_a_wrong_file() {
    let changes: [Change; 33] = [
        ("the first TXID is 0", |raw| set(raw, "min TXID", 0)),
        ("the last TXID is before the first", |raw| set(raw, "max TXID", 5)),
        ("the timestamp is before 1970", |raw| {
            set(raw, "timestamp", u64::MAX)
        }),
        ("the timestamp is later than dates can be", |raw| {
            set(raw, "timestamp", 1 << 53)
        }),
        ("the WAL offset or size is negative", |raw| {
            set(raw, "WAL size", u64::MAX)
        }),
        ("it has a WAL size without a WAL offset", |raw| {
            set(raw, "WAL offset", 0)
        }),
        ("it has a checksum and says that it has none", |raw| {
            set(raw, "pre-apply checksum", 1 << 63)
        }),
        ("the checksum of the state before is missing", |raw| {
            set(raw, "flags", 0)
        }),
        ("a snapshot has a database sum of the state before", |raw| {
            set(raw, "min TXID", 1)
        }),
        ("a snapshot must hold every page", |raw| {
            set(raw, "min TXID", 1);
            set(raw, "sum before", 0);
        }),
        ("the header has unknown flags", |raw| set(raw, "flags", 3)),
        ("page 2 is out of place: a snapshot must hold every page", |raw| {
            set(raw, "min TXID", 1);
            set(raw, "sum before", 0);
            set(raw, "commit", 2);
            raw.frames = vec![Frame::stored(1, &[1; SIZE])];
            raw.index = None;
        }),
        ("is not a page size", |raw| set(raw, "page size", 1 << 17)),
        (
            "page 2 does not decompress: it holds 512 bytes instead of 1024",
            |raw| {
                set(raw, "page size", 1024);
            },
        ),
        ("page 2 is out of place: it is beyond the end", |raw| {
            set(raw, "commit", 0)
        }),
        ("page 2 is out of place: pages must ascend", |raw| {
            raw.frames[1] = raw.frames[0].clone()
        }),
        ("page 2 is out of place: pages must ascend", |raw| {
            raw.frames.swap(0, 1)
        }),
        (
            "page 2097153 is out of place: the lock page is never stored",
            |raw| {
                set(raw, "commit", 3_000_000);
                raw.frames[2] = Frame::stored(2_097_153, &[1; SIZE]);
            },
        ),
        ("page 9 is damaged: its check", |raw| {
            *raw.frames[2].check.as_mut().unwrap() ^= 1
        }),
        ("page 2 has unknown flags 0x0006", |raw| raw.frames[0].flags = 6),
        ("page 2 has unknown flags 0x8004", |raw| {
            raw.frames[0].flags = 0x8004
        }),
        (
            "page 4 does not decompress: it holds 511 bytes instead of 512",
            |raw| {
                let frame = &mut raw.frames[1];
                frame.payload.pop();
                *frame.size.as_mut().unwrap() -= 1;
            },
        ),
        (
            "page 4 does not decompress: it is too short for its check",
            |raw| {
                let frame = &mut raw.frames[1];
                (frame.payload, frame.check, frame.size) = (vec![1, 2, 3], None, Some(3));
            },
        ),
        ("page 4 does not decompress: its payload is longer than", |raw| {
            let frame = &mut raw.frames[1];
            frame.payload.resize(5000, 0);
            frame.size = Some(5008);
        }),
        ("page 0 has unknown flags", |raw| raw.end_marker[5] = 4),
        ("the file is cut off", |raw| raw.index = Some(Vec::new())),
        ("it does not describe the frames", |raw| {
            raw.index.as_mut().unwrap()[1].0 = 5
        }),
        ("it does not describe the frames", |raw| {
            raw.index.as_mut().unwrap()[1].1 += 1
        }),
        ("it does not describe the frames", |raw| {
            raw.index.as_mut().unwrap()[2].2 -= 1
        }),
        ("it does not describe the frames", |raw| raw.index_len = Some(9)),
        ("it does not describe the frames", |raw| {
            raw.terminator = vec![0x80, 0]
        }),
        ("it has a checksum of the state after, the header says", |raw| {
            raw.post_apply = 1 << 63
        }),
        ("the file checksum is missing", |raw| raw.file_checksum = Some(1)),
    ];
    for (expected, change) in changes {
        let mut raw = raw(Codec::Stored);
        raw.index = Some(index(&raw));
        decode(&raw.bytes()).unwrap();
        change(&mut raw);
        let message = decode(&raw.bytes()).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message:?} instead of {expected:?}");
    }
}

/// What an index promises is checked before anything is fetched by it.
#[test]
fn an_index_is_held_against_the_header() {
    let long = |raw: &mut Raw| raw.frames[1].payload.resize(5000, 0);
    let changes: [Change; 6] = [
        ("a frame is longer than a page can need", long),
        ("page 9 is out of place: it is beyond the end", |raw| {
            set(raw, "commit", 8)
        }),
        ("page 2 is out of place: a snapshot must hold every page", |raw| {
            set(raw, "min TXID", 1);
            set(raw, "sum before", 0);
        }),
        ("page 2097153 is out of place: the lock page", |raw| {
            set(raw, "commit", 3_000_000);
            raw.frames[2].pgno = 2_097_153;
        }),
        ("pages must ascend", |raw| raw.frames.swap(0, 1)),
        ("it has a checksum of the state after", |raw| {
            raw.post_apply = 1 << 63
        }),
    ];
    for (expected, change) in changes {
        let mut raw = raw(Codec::Stored);
        change(&mut raw);
        let bytes = raw.bytes();
        let message = index::of(&bytes).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message:?} instead of {expected:?}");
    }
}

/// Not even the zero that ends it.
#[test]
fn an_index_of_no_bytes_is_impossible() {
    let mut bytes = raw(Codec::Stored).bytes();
    let len = bytes.len() - 24..bytes.len() - 16;
    bytes[len].fill(0);
    let message = index::locate(&bytes, bytes.len() as u64).unwrap_err().to_string();
    assert!(message.contains("its length is impossible"), "{message}");
}

/// Payloads that hold more or less than a page, or go on after their end.
#[test]
fn a_payload_is_exactly_one_page() {
    for codec in Codec::ALL {
        let refused = |change: fn(&mut Vec<u8>)| {
            let mut raw = raw(codec);
            change(&mut raw.frames[0].payload);
            let check = if codec.has_check() { 8 } else { 0 };
            raw.frames[0].size = raw.frames[0]
                .size
                .map(|_| raw.frames[0].payload.len() as u32 + check);
            decode(&raw.bytes()).is_err()
        };
        assert!(refused(|payload| payload.push(0)), "{codec}: one byte more");
        assert!(
            refused(|payload| payload.extend_from_within(..)),
            "{codec}: twice"
        );
        assert!(
            refused(|payload| payload.truncate(payload.len() - 1)),
            "{codec}: one byte less"
        );
        assert!(refused(Vec::clear), "{codec}: nothing");
    }
}

fn size() -> PageSize {
    PageSize::new(SIZE as u32).unwrap()
}

fn flags(codec: Codec) -> u16 {
    match codec {
        Codec::Lz4Frame => 0,
        Codec::Lz4 => 1,
        Codec::Deflate => 2,
        Codec::Stored => 4,
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Payload { .. } => "payload",
        Error::PageCheck(_) => "page check",
        Error::FileChecksum { .. } => "file checksum",
        Error::PageFlags { .. } | Error::PageOrder { .. } | Error::Index(_) | Error::Truncated(_) => {
            "structure"
        }
        other => panic!("{other}"),
    }
}

fn same(one: &Segment, other: &Segment) -> bool {
    let content = |segment: &Segment| -> Vec<_> {
        segment
            .pages
            .iter()
            .map(|page| (page.pgno, page.data.clone()))
            .collect()
    };
    one.header == other.header && content(one) == content(other)
}

/// Sets a header field, whatever its width.
fn set(raw: &mut Raw, field: &str, value: u64) {
    let (_, range) = HEADER_FIELDS
        .into_iter()
        .find(|(name, _)| *name == field)
        .unwrap();
    let bytes = value.to_be_bytes();
    let width = range.len();
    raw.header[range].copy_from_slice(&bytes[8 - width..]);
}

fn index(raw: &Raw) -> Vec<(u64, u64, u64)> {
    let mut offset = 100;
    let entry = |frame: &Frame| {
        let len = 6 + frame.size.map_or(0, |_| 4) + frame.payload.len() + frame.check.map_or(0, |_| 8);
        let entry = (u64::from(frame.pgno), offset, len as u64);
        offset += len as u64;
        entry
    };
    raw.frames.iter().map(entry).collect()
}
