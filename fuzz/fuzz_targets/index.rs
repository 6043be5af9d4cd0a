//! The header and the tail of an object of any bytes and any claimed size; the index in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walferry::ltx::Header;
use walferry::ltx::index::{Entries, Step, locate};

fuzz_target!(|bytes: &[u8]| {
    let Some((more, tail)) = bytes.split_first_chunk() else {
        return;
    };
    let size = (tail.len() as u64).saturating_add(u64::from(u16::from_be_bytes(*more)));
    let (Ok(location), Some(Ok(header))) = (locate(tail, size), tail.first_chunk().map(Header::parse)) else {
        return;
    };
    assert!(location.start + location.len < size);
    let Ok(mut entries) = Entries::new(&header, &location) else {
        return;
    };
    let before = size - tail.len() as u64;
    let Some(start) = location.start.checked_sub(before) else {
        return;
    };
    let index = &tail[start as usize..][..location.len as usize];
    let (mut at, mut given, mut end) = (0, 0, 100);
    while given < index.len() {
        given = (given + 7).min(index.len());
        let mut piece = &index[at..given];
        loop {
            match entries.next(&mut piece) {
                Ok(Step::Entry(entry)) => {
                    assert_eq!(entry.offset, end);
                    end += u64::from(entry.len);
                }
                Ok(Step::NeedMore) => break,
                Ok(Step::End) => {
                    assert!(piece.is_empty() && given == index.len());
                    assert_eq!(end, location.frames_end());
                    return;
                }
                Err(_) => return,
            }
        }
        at = given - piece.len();
    }
    panic!("the index ended without its end");
});
