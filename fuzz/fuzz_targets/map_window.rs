//! A window of a page map of any bytes, and of any bytes behind a right beginning; what is read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miniz_oxide::deflate::compress_to_vec_zlib;
use walferry::replica::MapWindow;

fuzz_target!(|bytes: &[u8]| {
    let begun = [b"WFPMAP1\n", bytes].concat();
    for bytes in [bytes, &compress_to_vec_zlib(&begun, 1)] {
        let Ok(window) = MapWindow::decode(bytes) else {
            continue;
        };
        assert_eq!(MapWindow::decode(&window.encode()).as_ref(), Ok(&window));
        let mut last = 0;
        for (pgno, object, place) in window.pages() {
            assert!(last < pgno.0 && pgno.0 <= window.commit);
            assert_eq!(window.get(pgno), Some((object, place)));
            last = pgno.0;
        }
        assert!(
            window
                .next()
                .is_none_or(|next| last < next.0 && next.0 <= window.commit)
        );
    }
});
