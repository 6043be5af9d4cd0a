//! The tail of an object of any bytes and any claimed size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walferry::ltx::Header;
use walferry::ltx::index::{Tail, locate};

fuzz_target!(|bytes: &[u8]| {
    let Some((more, tail)) = bytes.split_first_chunk() else {
        return;
    };
    let size = (tail.len() as u64).saturating_add(u64::from(u16::from_be_bytes(*more)));
    match locate(tail, size) {
        Ok(Tail::Need(need)) => assert!(need <= size && need > tail.len() as u64),
        Ok(Tail::Index(index)) => {
            assert!(
                index
                    .entries
                    .is_sorted_by(|a, b| a.pgno < b.pgno && a.offset < b.offset)
            );
            let end = index
                .entries
                .last()
                .map_or(100, |entry| entry.offset + u64::from(entry.len));
            assert!(end < size);
            if let Some(Ok(header)) = tail.first_chunk().map(Header::parse) {
                let _ = index.check(&header);
            }
        }
        Err(_) => {}
    }
});
