//! One frame of any bytes, for a page of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walferry::ltx::{Decompressor, PageCrc, Pgno, decode_frame};

fuzz_target!(|bytes: &[u8]| {
    let Some((&size, frame)) = bytes.split_first() else {
        return;
    };
    let Some(pgno) = frame.first_chunk().map(|bytes| Pgno(u32::from_be_bytes(*bytes))) else {
        return;
    };
    let mut page = vec![0; 512 << (size % 8)];
    if let Ok(crc) = decode_frame(frame, pgno, &mut Decompressor::default(), &mut page) {
        assert_eq!(crc, PageCrc::of(pgno, &page));
    }
});
