//! A window of a state's page map, as a Worker tells it: where the newest version of each page lies.
//!
//! ```text
//! magic      8 bytes  "WFPMAP1\n"
//! state      u64 TXID, u8 whether its sum is known, u64 sum, u32 page size, u32 pages of the database, i64 timestamp
//! window     u32 its first page, u32 how many pages it tells of
//! objects    uvarint number; each u8 level, uvarint first TXID, uvarint last TXID less the first
//! lengths    for each page, uvarint length of its frame
//! runs       until all pages are told of; each uvarint pages, uvarint which object, uvarint (zigzag) start less the end
//!            of the object's run before, 0 for its first
//! ```
//!
//! All of it is one zlib stream. All integers are big-endian. A window tells of every page from its first on but the lock page, which is nowhere stored.
//! The frames of a run lie one behind the other. Objects are named as they are read: a segment in a bundle is told as a
//! place in the bundle.

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::{Level, Position, SegmentId};
use crate::ltx::{DbSum, PageSize, Pgno, Reader, Timestamp, Txid, put_uvarint};

const MAGIC: [u8; 8] = *b"WFPMAP1\n";
/// As for pages: smaller by less than it costs beyond.
const EFFORT: u8 = 4;
/// More than the longest window inflates to.
const MAX_INFLATED: usize = 16 << 20;

/// Where some pages of a database lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapWindow {
    /// The state.
    pub position: Position,
    /// Size of every page.
    pub page_size: PageSize,
    /// Size of the database in pages.
    pub commit: u32,
    /// When that state was seen.
    pub timestamp: Timestamp,
    /// The first page that it tells of.
    first: Pgno,
    objects: Vec<SegmentId>,
    places: Vec<Place>,
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the objects.
    object: u32,
    /// Where it starts in there.
    pub offset: u64,
    /// How long it is, its head included.
    pub len: u32,
}

/// Why some bytes are no window of a page map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no page map, or it is damaged: {0}")]
pub struct InvalidMap(&'static str);

impl MapWindow {
    /// Of so many pages at most: 1 GiB of a database with pages of 4 KiB.
    pub const MAX_PAGES: u32 = 256 * 1024;

    /// One that tells of no page yet.
    pub fn new(
        position: Position,
        page_size: PageSize,
        commit: u32,
        timestamp: Timestamp,
        first: Pgno,
    ) -> Self {
        Self {
            position,
            page_size,
            commit,
            timestamp,
            first,
            objects: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Names an object that pages lie in, and returns its number.
    pub fn add_object(&mut self, object: SegmentId) -> u32 {
        let number = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        self.objects.push(object);
        number
    }

    /// Tells of the next page.
    pub fn add(&mut self, object: u32, offset: u64, len: u32) {
        self.places.push(Place { object, offset, len });
    }

    /// The objects that are named.
    pub fn objects(&self) -> &[SegmentId] {
        &self.objects
    }

    /// The pages that it tells of, in order, and where they are.
    pub fn pages(&self) -> impl Iterator<Item = (Pgno, SegmentId, Place)> {
        let numbers = numbers(self.first, self.page_size);
        let pages = numbers.zip(&self.places);
        pages.filter_map(|(pgno, place)| Some((pgno, *self.objects.get(place.object as usize)?, *place)))
    }

    /// Where a page is, if it tells of it.
    pub fn get(&self, pgno: Pgno) -> Option<(SegmentId, Place)> {
        let lock_page = self.page_size.lock_page();
        let skipped = u32::from(self.first <= lock_page && lock_page < pgno);
        let at = pgno.0.checked_sub(self.first.0)?.checked_sub(skipped)?;
        let place = self.places.get(at as usize).filter(|_| pgno != lock_page)?;
        Some((*self.objects.get(place.object as usize)?, *place))
    }

    /// Where the next window starts; `None` where there is none.
    pub fn next(&self) -> Option<Pgno> {
        let told = u32::try_from(self.places.len()).ok()?;
        let next = numbers(self.first, self.page_size).nth(told as usize)?;
        (next.0 <= self.commit).then_some(next)
    }

    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        compress_to_vec_zlib(&self.unpacked(), EFFORT)
    }

    /// What is in the zlib stream, for who makes that by other means.
    pub fn unpacked(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let sum = self.position.sum;
        out.extend_from_slice(&self.position.txid.0.to_be_bytes());
        out.push(u8::from(sum.is_some()));
        out.extend_from_slice(&sum.map_or(0, |sum| sum.0).to_be_bytes());
        out.extend_from_slice(&self.page_size.get().to_be_bytes());
        out.extend_from_slice(&self.commit.to_be_bytes());
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.first.0.to_be_bytes());
        let count = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        put_uvarint(&mut out, self.objects.len() as u64);
        for object in &self.objects {
            out.push(object.level.into());
            put_uvarint(&mut out, object.min.0);
            put_uvarint(&mut out, object.max.0.saturating_sub(object.min.0));
        }
        for place in &self.places {
            put_uvarint(&mut out, u64::from(place.len));
        }
        let mut ends = vec![0; self.objects.len()];
        for run in self.places.chunk_by(Place::leads_to) {
            let (Some(start), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            put_uvarint(&mut out, run.len() as u64);
            put_uvarint(&mut out, u64::from(start.object));
            if let Some(end) = ends.get_mut(start.object as usize) {
                put_uvarint(&mut out, zigzag(start.offset.wrapping_sub(*end)));
                *end = last.end();
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) made.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidMap> {
        let inflated = decompress_to_vec_zlib_with_limit(bytes, MAX_INFLATED);
        let inflated = inflated.map_err(|_| InvalidMap("it does not inflate"))?;
        let mut reader = Reader(&inflated);
        if reader.array() != Some(MAGIC) {
            return Err(InvalidMap("it does not begin as one"));
        }
        let (mut window, count) = read_state(&mut reader).ok_or(InvalidMap("its state is impossible"))?;
        let cut_off = InvalidMap("it is cut off");
        for _ in 0..reader.uvarint().ok_or(cut_off)? {
            let object = read_object(&mut reader).ok_or(InvalidMap("an object's name is impossible"))?;
            window.objects.push(object);
        }
        let mut lengths = Vec::new();
        for _ in 0..count {
            let len = reader.uvarint().ok_or(cut_off)?;
            lengths.push(u32::try_from(len).map_err(|_| InvalidMap("a length is impossible"))?);
        }
        let mut ends = vec![0u64; window.objects.len()];
        let mut lengths = lengths.into_iter();
        while lengths.len() > 0 {
            let mut number = || reader.uvarint().ok_or(cut_off);
            let (pages, object, delta) = (number()?, number()?, number()?);
            let pages = usize::try_from(pages)
                .ok()
                .filter(|pages| (1..=lengths.len()).contains(pages));
            let pages = pages.ok_or(InvalidMap("the length of a run is impossible"))?;
            let object = u32::try_from(object).map_err(|_| InvalidMap("it names no such object"))?;
            let end = ends.get_mut(object as usize);
            let end = end.ok_or(InvalidMap("it names no such object"))?;
            *end = end.wrapping_add(unzigzag(delta));
            for len in lengths.by_ref().take(pages) {
                let offset = *end;
                window.places.push(Place { object, offset, len });
                *end = offset
                    .checked_add(u64::from(len))
                    .ok_or(InvalidMap("a place is impossible"))?;
            }
        }
        if reader.0.is_empty() {
            Ok(window)
        } else {
            Err(InvalidMap("it goes on after its end"))
        }
    }
}

impl Place {
    fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }

    fn leads_to(&self, next: &Self) -> bool {
        next.object == self.object && next.offset == self.end()
    }
}

/// The page numbers from `first` on, without the lock page.
fn numbers(first: Pgno, page_size: PageSize) -> impl Iterator<Item = Pgno> {
    let lock_page = page_size.lock_page();
    (first.0..=u32::MAX)
        .map(Pgno)
        .filter(move |&pgno| pgno != lock_page)
}

fn read_state(reader: &mut Reader<'_>) -> Option<(MapWindow, u32)> {
    let txid = Txid(reader.u64()?);
    let [is_known] = reader.array()?;
    let sum = DbSum(reader.u64()?);
    let page_size = PageSize::new(reader.u32()?).ok()?;
    let (commit, timestamp) = (reader.u32()?, Timestamp(reader.i64()?));
    let (first, count) = (Pgno(reader.u32()?), reader.u32()?);
    let sum = match is_known {
        0 if sum == DbSum(0) => None,
        1 => Some(sum),
        _ => return None,
    };
    let window = MapWindow::new(Position { txid, sum }, page_size, commit, timestamp, first);
    let last = match count.checked_sub(1) {
        None => first.0,
        Some(before) => numbers(first, page_size).nth(before as usize)?.0,
    };
    let is_possible = first.0 > 0 && count <= MapWindow::MAX_PAGES && (count == 0 || last <= commit);
    is_possible.then_some((window, count))
}

fn read_object(reader: &mut Reader<'_>) -> Option<SegmentId> {
    let [level] = reader.array()?;
    let min = reader.uvarint()?;
    let max = min.checked_add(reader.uvarint()?)?;
    SegmentId::new(Level::any(level)?, Txid(min), Txid(max))
}

/// A difference, taken as signed, so that small ones are small numbers.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ ((difference as i64) >> 63) as u64
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(first: u32, page_size: u32) -> MapWindow {
        let position = Position {
            txid: Txid(77),
            sum: Some(DbSum(0x0123_4567_89ab_cdef)),
        };
        let page_size = PageSize::new(page_size).unwrap();
        MapWindow::new(
            position,
            page_size,
            1 << 22,
            Timestamp(1_700_000_000_000),
            Pgno(first),
        )
    }

    fn object(level: u8, min: u64, max: u64) -> SegmentId {
        SegmentId::new(Level::any(level).unwrap(), Txid(min), Txid(max)).unwrap()
    }

    /// Three pages of a snapshot, one of them newer in a bundle.
    fn small() -> MapWindow {
        let mut window = window(1, 4096);
        let (snapshot, bundle) = (
            window.add_object(object(9, 1, 70)),
            window.add_object(object(10, 71, 77)),
        );
        window.add(snapshot, 100, 2000);
        window.add(bundle, 5000, 900);
        window.add(snapshot, 4200, 1999);
        window
    }

    /// The format does not change: who has an old program must read what a new Worker says.
    #[test]
    fn golden() {
        const GOLDEN: &str = "5746504d4150310a\
            000000000000004d010123456789abcdef0000100000400000000001 8bcfe56800000000010000000302090145 0a4706\
            d00f 8407 cf0f 0100c801 0101904e 0100e820";
        let sent = small().encode();
        let inflated = decompress_to_vec_zlib_with_limit(&sent, 1000).unwrap();
        assert_eq!(inflated, small().unpacked());
        let hex: String = inflated.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.split_whitespace().collect::<String>());
        assert_eq!(MapWindow::decode(&sent), Ok(small()));
    }

    #[test]
    fn a_page_is_found_where_it_is() {
        let window = small();
        let found = |pgno| {
            window
                .get(Pgno(pgno))
                .map(|(object, place)| (object.level.into(), place.offset))
        };
        assert_eq!(
            [0, 1, 2, 3, 4].map(found),
            [None, Some((9u8, 100)), Some((10, 5000)), Some((9, 4200)), None]
        );
        assert_eq!(window.next(), Some(Pgno(4)));
        assert_eq!(window.pages().count(), 3);
    }

    #[test]
    fn the_lock_page_is_told_of_by_no_window() {
        // With pages of 64 KiB it is page 16,385.
        let mut around = window(16_384, 65_536);
        let snapshot = around.add_object(object(9, 1, 70));
        around.add(snapshot, 100, 7);
        assert_eq!(around.next(), Some(Pgno(16_386)));
        around.add(snapshot, 107, 8);
        let read = MapWindow::decode(&around.encode()).unwrap();
        assert_eq!(read, around);
        let offset = |pgno| read.get(Pgno(pgno)).map(|(_, place)| place.offset);
        assert_eq!(
            [16_384, 16_385, 16_386, 16_387].map(offset),
            [Some(100), None, Some(107), None]
        );
        let pages: Vec<u32> = read.pages().map(|(pgno, ..)| pgno.0).collect();
        assert_eq!(pages, [16_384, 16_386]);
    }

    #[test]
    fn the_last_window_has_none_behind_it() {
        let mut window = MapWindow { commit: 3, ..small() };
        assert_eq!(window.next(), None);
        window.places.pop();
        assert_eq!(window.next(), Some(Pgno(3)));
    }

    #[test]
    fn no_flipped_bit_and_no_other_length_passes_for_it() {
        let sent = small().encode();
        for bit in 0..sent.len() * 8 {
            let mut bytes = sent.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A few bits of the head of a zlib stream mean nothing to who inflates it.
            if let Ok(read) = MapWindow::decode(&bytes) {
                assert_eq!(read, small(), "bit {bit}");
            }
        }
        for len in 0..sent.len() {
            MapWindow::decode(&sent[..len]).unwrap_err();
        }
    }

    /// What a window of 256 MiB of a database takes, with frames as a table has them.
    #[test]
    fn a_page_takes_less_than_two_bytes() {
        let mut window = window(1, 4096);
        let snapshot = window.add_object(object(9, 1, 70));
        let mut at = 100;
        for pgno in 0..65_536u64 {
            let len = 1500 + u32::try_from(pgno.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap();
            window.add(snapshot, at, len);
            at += u64::from(len);
        }
        let sent = window.encode();
        assert_eq!(MapWindow::decode(&sent).as_ref(), Ok(&window));
        assert!(sent.len() < 2 * 65_536, "{} bytes", sent.len());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            first in 1u32..100_000,
            places in proptest::collection::vec((0u32..4, 0u64..1 << 40, 0u32..70_000), 0..200),
        ) {
            let mut window = window(first, 65_536);
            for number in 1..=4 {
                window.add_object(object(0, number, number));
            }
            for (object, offset, len) in places {
                window.add(object, offset, len);
            }
            prop_assert_eq!(MapWindow::decode(&window.encode()), Ok(window));
        }

        #[test]
        fn zigzag_is_undone(number: u64) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}
