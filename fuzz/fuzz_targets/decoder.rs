//! A segment of any bytes: no panic, the same result however it is cut, and what is accepted can be written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walferry::ltx::{Codec, Compressor, Decoder, Encoder, Error, Event, Header, PageCrc, Pgno, Trailer};

type Packed = (Pgno, Codec, PageCrc, Vec<u8>);

fuzz_target!(|bytes: &[u8]| {
    let whole = decode(bytes, bytes.len().max(1));
    // A byte of the file says how it is cut.
    let cut = usize::from(bytes.get(30).copied().unwrap_or(0)) + 1;
    match (whole, decode(bytes, cut)) {
        (Ok(whole), Ok(cut)) => {
            assert!(whole == cut);
            let (header, pages, trailer) = whole;
            if header.commit > 0 {
                assert!(has_other_reserved(bytes) || encode(&header, &pages, trailer) == bytes);
            }
        }
        (Err(whole), Err(cut)) => assert_eq!(whole.to_string(), cut.to_string()),
        (whole, cut) => panic!("{:?} whole, {:?} in pieces", whole.err(), cut.err()),
    }
});

fn decode(bytes: &[u8], cut: usize) -> Result<(Header, Vec<Packed>, Trailer), Error> {
    let mut decoder = Decoder::new();
    let (mut header, mut pages, mut trailer) = (None, Vec::new(), None);
    for chunk in bytes.chunks(cut) {
        decoder.push(chunk);
        while let Some(event) = decoder.next()? {
            match event {
                Event::Header(found) => header = Some(found.clone()),
                Event::Page(page) => {
                    assert_eq!(page.crc, PageCrc::of(page.pgno, page.data));
                    pages.push((page.pgno, page.codec, page.crc, page.payload.to_vec()));
                }
                Event::End(found) => trailer = Some(found),
            }
        }
    }
    decoder.finish()?;
    Ok((header.expect("a header"), pages, trailer.expect("a trailer")))
}

fn encode(header: &Header, pages: &[Packed], trailer: Trailer) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), header.clone(), Compressor::new(Codec::Lz4))
        .expect("an accepted header")
        .with_post_apply_checksum(trailer.post_apply_checksum);
    for (pgno, codec, crc, payload) in pages {
        encoder
            .packed_page(*pgno, *codec, *crc, payload)
            .expect("an accepted page");
    }
    encoder.finish().expect("an accepted segment").0
}

/// Reserved bytes that are neither zero nor ours are read over, and not written again.
fn has_other_reserved(bytes: &[u8]) -> bool {
    &bytes[80..84] != b"WFC1" && bytes[80..100] != [0; 20]
}
