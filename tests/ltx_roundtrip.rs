//! What an encoder writes, a decoder reads: whatever the pages, the codec, the page size and the way the bytes come.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod segments;

use proptest::prelude::*;
use segments::content::{Fill, Random};
use segments::{Segment, decode, decode_chunks, encode, encode_packed};
use walferry::ltx::index::{self, Entries, Step, locate};
use walferry::ltx::{
    Codec, DbSum, Decoder, Decompressor, Error, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
    decode_frame,
};

/// A segment as it is meant.
#[derive(Clone, Debug)]
struct Spec {
    header: Header,
    codec: Codec,
    pages: Vec<(Pgno, Fill)>,
}

impl Spec {
    /// Any segment of up to `max` pages: whole databases and parts, around the lock page too.
    fn any(max: u32) -> impl Strategy<Value = Self> {
        let size = (9u32..=16).prop_map(|log| PageSize::new(1 << log).unwrap());
        let codec = prop::sample::select(Codec::ALL.to_vec());
        let sums = proptest::option::of((any::<u64>(), any::<u64>()));
        let fills = proptest::collection::vec((Fill::any(), 1u32..4), 1..=max as usize);
        (
            size,
            codec,
            sums,
            fills,
            any::<bool>(),
            any::<bool>(),
            0i64..=Timestamp::MAX.0,
        )
            .prop_map(|(size, codec, sums, fills, snapshot, at_lock_page, time)| {
                Self::new(size, codec, sums, &fills, snapshot, at_lock_page, Timestamp(time))
            })
    }

    fn new(
        size: PageSize,
        codec: Codec,
        sums: Option<(u64, u64)>,
        fills: &[(Fill, u32)],
        snapshot: bool,
        at_lock_page: bool,
        time: Timestamp,
    ) -> Self {
        // A part near the lock page starts a little before it.
        let lock_page = size.lock_page().0;
        let mut pgno = if at_lock_page && !snapshot {
            lock_page - 3
        } else {
            0
        };
        let mut pages = Vec::new();
        for &(fill, step) in fills {
            pgno += if snapshot { 1 } else { step };
            pgno += u32::from(pgno == lock_page);
            pages.push((Pgno(pgno), fill));
        }
        let commit = if snapshot { pgno } else { pgno + 5 };
        let txids = if snapshot {
            (Txid(1), Txid(7))
        } else {
            (Txid(8), Txid(1 << 60))
        };
        let sums = sums.map(|(before, after)| Sums {
            before: DbSum(if snapshot { 0 } else { before }),
            after: DbSum(after),
        });
        Self {
            header: Header::new(size, commit, txids, time, sums),
            codec,
            pages,
        }
    }

    fn data(&self) -> Vec<(Pgno, Vec<u8>)> {
        let size = self.header.page_size.len();
        self.pages
            .iter()
            .map(|&(pgno, fill)| (pgno, fill.page(size)))
            .collect()
    }

    fn encode(&self) -> Vec<u8> {
        let data = self.data();
        encode(
            &self.header,
            self.codec,
            data.iter().map(|(pgno, page)| (*pgno, &page[..])),
        )
        .unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn decodes_what_was_encoded(spec in Spec::any(12)) {
        let bytes = spec.encode();
        let segment = decode(&bytes).unwrap();
        prop_assert_eq!(&segment.header, &spec.header);
        let pages: Vec<_> = segment.pages.iter().map(|page| (page.pgno, page.data.clone())).collect();
        prop_assert!(pages == spec.data());
        for page in &segment.pages {
            prop_assert_eq!(page.crc, PageCrc::of(page.pgno, &page.data));
            prop_assert!(page.codec == spec.codec || (spec.codec, page.codec) == (Codec::Deflate, Codec::Stored));
        }
        prop_assert!(encode_packed(&segment) == bytes);
    }

    #[test]
    fn comes_out_the_same_in_whatever_chunks_it_comes(spec in Spec::any(6), seed: u64) {
        let bytes = spec.encode();
        let whole = decode(&bytes).unwrap();
        let mut random = Random(seed | 1);
        let (mut rest, mut chunks) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let longest = [1, 8, 300, 5000, 100_000][random.below(5)];
            let (chunk, after) = rest.split_at(rest.len().min(random.below(longest + 1)));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert!(decode_chunks(chunks).unwrap() == whole);
    }

    #[test]
    fn any_cut_is_a_truncation(spec in Spec::any(4), at: prop::sample::Index) {
        let bytes = spec.encode();
        let cut = at.index(bytes.len());
        prop_assert!(matches!(decode(&bytes[..cut]), Err(Error::Truncated(at)) if at == cut as u64));
        let mut longer = bytes;
        longer.push(0);
        prop_assert!(matches!(decode(&longer), Err(Error::TrailingBytes)));
    }

    #[test]
    fn each_frame_can_be_read_alone(spec in Spec::any(12)) {
        let bytes = spec.encode();
        let (_, entries) = index::of(&bytes).unwrap();
        let mut decompressor = Decompressor::default();
        let mut page = vec![0xEE; spec.header.page_size.len()];
        let data = spec.data();
        prop_assert_eq!(entries.len(), data.len());
        for (entry, (pgno, expected)) in entries.iter().zip(&data) {
            let frame = &bytes[entry.offset as usize..][..entry.len as usize];
            let crc = decode_frame(frame, entry.pgno, &mut decompressor, &mut page).unwrap();
            prop_assert_eq!((entry.pgno, crc), (*pgno, PageCrc::of(*pgno, expected)));
            prop_assert!(page == *expected);
            let other = Pgno(pgno.0 + 1);
            prop_assert!(matches!(decode_frame(frame, other, &mut decompressor, &mut page), Err(Error::Index(_))));
            let short = &frame[..frame.len() - 1];
            prop_assert!(decode_frame(short, *pgno, &mut decompressor, &mut page).is_err());
            let long = &bytes[entry.offset as usize..][..entry.len as usize + 1];
            prop_assert!(decode_frame(long, *pgno, &mut decompressor, &mut page).is_err());
        }
    }

    #[test]
    fn the_index_is_found_by_any_tail_and_read_in_any_pieces(spec in Spec::any(40), seed in 1u64..) {
        let bytes = spec.encode();
        let size = bytes.len() as u64;
        let (location, expected) = index::of(&bytes).unwrap();
        let mut random = Random(seed);
        let lengths = (0..300).chain(std::iter::repeat_with(|| random.below(bytes.len())).take(50));
        for len in lengths.filter(|&len| len <= bytes.len()) {
            match locate(&bytes[bytes.len() - len..], size) {
                Err(Error::Truncated(_)) => prop_assert!(len < 24),
                found => prop_assert!(found.unwrap() == location),
            }
        }

        let index = &bytes[location.start as usize..][..location.len as usize];
        let mut entries = Entries::new(&spec.header, &location).unwrap();
        let (mut found, mut at, mut given) = (Vec::new(), 0, 0);
        let mut ended = false;
        while given < index.len() {
            given = (given + 1 + random.below(40)).min(index.len());
            let mut piece = &index[at..given];
            loop {
                match entries.next(&mut piece).unwrap() {
                    Step::Entry(entry) => found.push(entry),
                    Step::NeedMore => break,
                    Step::End => {
                        ended = true;
                        break;
                    }
                }
            }
            at = given - piece.len();
        }
        prop_assert!(ended && at == index.len());
        prop_assert!(found == expected);
    }

    #[test]
    fn bytes_of_any_kind_never_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..3000),
        with_magic: bool,
        size: u64,
    ) {
        let mut bytes = if with_magic { b"LTX1".to_vec() } else { Vec::new() };
        bytes.extend_from_slice(&noise);
        prop_assert!(decode(&bytes).is_err());
        let _ = locate(&bytes, size);
        let _ = locate(&bytes, bytes.len() as u64);
        let mut page = vec![0; 512];
        let _ = decode_frame(&bytes, Pgno(1), &mut Decompressor::default(), &mut page);
    }

    /// Files that are right but for a few bytes get further than noise does.
    #[test]
    fn spoiled_files_never_panic(
        spec in Spec::any(4),
        spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let good = spec.encode();
        let mut bytes = good.clone();
        for (at, byte) in spoil {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = locate(&bytes, bytes.len() as u64);
        let by_the_byte = decode_chunks(bytes.chunks(1));
        match decode(&bytes) {
            // LZ4 can say the same in more than one way; then the pages are the same.
            Ok(segment) => {
                prop_assert!(same(&segment, &decode(&good).unwrap()));
                prop_assert!(same(&segment, &by_the_byte.unwrap()));
            }
            Err(error) => prop_assert_eq!(error.to_string(), by_the_byte.unwrap_err().to_string()),
        }
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
    one.header == other.header && one.trailer == other.trailer && content(one) == content(other)
}

#[test]
fn an_error_is_the_last_word() {
    let spec = Spec::new(
        PageSize::new(512).unwrap(),
        Codec::Deflate,
        None,
        &[(Fill::Rows(1), 1), (Fill::Rows(2), 1)],
        true,
        false,
        Timestamp(0),
    );
    let mut bytes = spec.encode();
    bytes[120] ^= 0xff;
    let mut decoder = Decoder::new();
    decoder.push(&bytes);
    assert!(decoder.next().unwrap().is_some());
    assert!(decoder.read_header().is_some());
    assert!(decoder.next().is_err());
    for _ in 0..3 {
        assert!(matches!(decoder.next(), Err(Error::Refused)));
    }
    decoder.push(&spec.encode());
    assert!(matches!(decoder.next(), Err(Error::Refused)));
    assert!(matches!(decoder.finish(), Err(Error::Refused)));
    assert!(decoder.read_header().is_none());
}

#[test]
fn the_end_is_the_end() {
    let spec = Spec::new(
        PageSize::new(512).unwrap(),
        Codec::Lz4,
        None,
        &[(Fill::Byte(3), 1)],
        false,
        false,
        Timestamp(0),
    );
    let mut decoder = Decoder::new();
    decoder.push(&spec.encode());
    while decoder.next().unwrap().is_some() {}
    decoder.finish().unwrap();
    assert!(decoder.next().unwrap().is_none());
    assert_eq!(decoder.read_header(), Some(&spec.header));
    decoder.push(&[0]);
    assert!(matches!(decoder.finish(), Err(Error::TrailingBytes)));
    assert!(matches!(decoder.next(), Err(Error::TrailingBytes)));
}
