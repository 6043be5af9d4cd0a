//! Files that others wrote: the golden vectors of the format, and folders that the real Litestream filled
//! (`fixtures/ltx/make.py`). They must be read, and a file written anew from their packed pages must be theirs.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use std::path::{Path, PathBuf};

use segments::history::create;
use segments::restoring::{refresh, restore};
use segments::{decode, encode_packed};
use walferry::ltx::index;
use walferry::ltx::{
    Codec, Decompressor, FileChecksum, Header, PageCrc, PageSize, Pgno, Timestamp, Txid, decode_frame,
};
use walferry::replica::{Level, SegmentId, Target};
use walferry::store::MemoryStore;

/// One page of 512 × 0x81 in a legacy LZ4 frame, by superfly/ltx 0.5.0; its rolling checksum is arbitrary.
const FRAME: &str = "\
    4c5458310000000000000200000000010000000000000001000000000000000100000000000003e800000000000000000000\
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    00000001000004224d186440a70c0000001f810100ffe850818181818100000000b39b5f4900000000000001642500000000\
    0000000004eb1a999231044ddd933c2aee2846677f";

/// Two pages, [0..255] twice and zeros, in LZ4 blocks, as Litestream writes from 0.5.16 on.
const BLOCK: &str = "\
    4c545831000000020000020000000002000000000000000200000000000000020000018bcfe5687b00000000000000000000\
    0000000000200000000000000430112233445566778800000000000000000000000000000000000000000000000000000000\
    0000000100010000010bfff1000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425\
    262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f5051525354555657\
    58595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f80818283848586878889\
    8a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babb\
    bcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebeced\
    eeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff0001e850fbfcfdfeff0000000200010000000c1f000100ffe850000000000000\
    00000000000164950202f9021600000000000000000900000000000000008df5b26a619e9bc2";

#[test]
fn frame_vector() {
    let bytes = unhex(FRAME);
    let segment = decode(&bytes).unwrap();
    let expected = Header {
        no_checksum: false,
        ..Header::new(size(512), 1, (Txid(1), Txid(1)), Timestamp(1000), None)
    };
    assert_eq!(segment.header, expected);
    assert_eq!(segment.pages.len(), 1);
    assert_eq!(segment.pages[0].codec, Codec::Lz4Frame);
    assert_eq!(segment.pages[0].data, [0x81; 512]);
    assert_eq!(segment.trailer.post_apply_checksum, 0xeb1a_9992_3104_4ddd);
    assert_eq!(segment.trailer.file_checksum, FileChecksum(0x933c_2aee_2846_677f));
    assert_eq!(segment.header.encode(), bytes[..Header::LEN]);
    assert_eq!(encode_packed(&segment), bytes);
}

#[test]
fn block_vector() {
    let bytes = unhex(BLOCK);
    assert_eq!(bytes.len(), 438);
    let segment = decode(&bytes).unwrap();
    let expected = Header {
        wal_offset: 32,
        wal_size: 1072,
        wal_salts: [0x1122_3344, 0x5566_7788],
        ..Header::new(
            size(512),
            2,
            (Txid(2), Txid(2)),
            Timestamp(1_700_000_000_123),
            None,
        )
    };
    assert_eq!(segment.header, expected);
    let [first, second] = &segment.pages[..] else {
        panic!("two pages, not {}", segment.pages.len());
    };
    let count: Vec<u8> = (0..=255).chain(0..=255).collect();
    assert_eq!(
        (first.pgno, first.codec, &first.data),
        (Pgno(1), Codec::Lz4, &count)
    );
    assert_eq!(
        (second.pgno, second.codec, &second.data),
        (Pgno(2), Codec::Lz4, &vec![0; 512])
    );
    assert_eq!(segment.trailer.post_apply_checksum, 0);
    assert_eq!(segment.trailer.file_checksum, FileChecksum(0x8df5_b26a_619e_9bc2));
    assert_eq!(segment.header.encode(), bytes[..Header::LEN]);
    assert_eq!(encode_packed(&segment), bytes);

    let (_, entries) = index::of(&bytes).unwrap();
    let entries: Vec<_> = entries.iter().map(|e| (e.pgno.0, e.offset, e.len)).collect();
    assert_eq!(entries, [(1, 100, 277), (2, 377, 22)]);
}

/// Every file of Litestream 0.5.15 (LZ4 frames) and 0.5.17 (LZ4 blocks): snapshots, partial files, compacted ones.
#[test]
fn litestreams_files_are_read_and_written_anew() {
    let folders = folders();
    assert_eq!(folders.len(), 6, "two versions, three page sizes");
    for folder in folders {
        let files = files(&folder);
        assert!(files.len() > 10, "{folder:?} holds only {} files", files.len());
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            let segment = decode(&bytes).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert_eq!(segment.header.encode(), bytes[..Header::LEN], "{path:?}");
            assert_eq!(encode_packed(&segment), bytes, "{path:?}");
            assert!(
                segment.header.no_checksum && segment.header.sums.is_none(),
                "{path:?}"
            );
            let codec = if folder.to_str().unwrap().contains("0.5.15") {
                Codec::Lz4Frame
            } else {
                Codec::Lz4
            };
            assert!(segment.pages.iter().all(|page| page.codec == codec), "{path:?}");
            let name = format!("{}-{}.ltx", segment.header.min_txid, segment.header.max_txid);
            assert_eq!(path.file_name().unwrap().to_str().unwrap(), name);

            let (location, entries) = index::of(&bytes).unwrap();
            assert_eq!(location.trailer, segment.trailer);
            assert_eq!(entries.len(), segment.pages.len());
            let mut data = vec![0; segment.header.page_size.len()];
            for (entry, page) in entries.iter().zip(&segment.pages) {
                let frame = &bytes[entry.offset as usize..][..entry.len as usize];
                let crc = decode_frame(frame, entry.pgno, &mut Decompressor::default(), &mut data).unwrap();
                assert_eq!(
                    (entry.pgno, crc, &data),
                    (page.pgno, page.crc, &page.data),
                    "{path:?}"
                );
                assert_eq!(crc, PageCrc::of(page.pgno, &page.data));
            }
        }
    }
}

/// Segments without any promise, levels that overlap: the database is the one that Litestream itself restores.
#[test]
fn litestreams_folders_are_restored() {
    for folder in folders() {
        let store = MemoryStore::default();
        for path in files(&folder) {
            let level = path.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
            let level = Level::new(level.parse().unwrap()).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let id = SegmentId::from_file_name(level, name).unwrap();
            create(&store, id, &std::fs::read(&path).unwrap().into());
        }
        let (state, position) = restore(&store, Target::Latest).unwrap();
        let database = state.concat();
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&database);
        let expected = std::fs::read_to_string(folder.join("expected")).unwrap();
        assert_eq!(
            format!("{} {crc:08x}", database.len()),
            expected.trim(),
            "{folder:?}"
        );

        // From each state on the way to the last, which is there at level 0.
        for txid in (1..position.txid.0).map(Txid) {
            let (earlier, at) = restore(&store, Target::Txid(txid)).unwrap();
            let refreshed = refresh(&store, Target::Latest, (&earlier, at)).unwrap();
            assert!(
                refreshed == Some((state.clone(), position)),
                "{folder:?} from {txid}"
            );
        }
    }
}

fn size(bytes: u32) -> PageSize {
    PageSize::new(bytes).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

fn folders() -> Vec<PathBuf> {
    entries(Path::new("tests/fixtures/ltx"))
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    entries(&folder.join("ltx"))
        .iter()
        .flat_map(|level| entries(level))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
