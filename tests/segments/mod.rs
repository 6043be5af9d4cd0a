//! What the tests of the core share: segments decoded into plain values, and written from them.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod content;
pub mod history;
pub mod mapping;
pub mod raw;
pub mod restoring;

use walferry::ltx::{Codec, Compressor, Decoder, Encoder, Error, Event, Header, PageCrc, Pgno, Trailer};

/// A decoded segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub header: Header,
    pub pages: Vec<Page>,
    pub trailer: Trailer,
}

/// A decoded page, and how it was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub pgno: Pgno,
    pub crc: PageCrc,
    pub data: Vec<u8>,
    pub codec: Codec,
    pub payload: Vec<u8>,
}

/// Decodes a segment that comes in these chunks, to its end.
pub fn decode_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Segment, Error> {
    let mut decoder = Decoder::new();
    let (mut header, mut pages, mut trailer) = (None, Vec::new(), None);
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(event) = decoder.next()? {
            match event {
                Event::Header(found) => header = Some(found.clone()),
                Event::Page(page) => pages.push(Page {
                    pgno: page.pgno,
                    crc: page.crc,
                    data: page.data.to_vec(),
                    codec: page.codec,
                    payload: page.payload.to_vec(),
                }),
                Event::End(found) => trailer = Some(found),
            }
        }
    }
    decoder.finish()?;
    Ok(Segment {
        header: header.expect("a finished file has a header"),
        pages,
        trailer: trailer.expect("a finished file has a trailer"),
    })
}

/// Decodes a segment that comes whole.
pub fn decode(bytes: &[u8]) -> Result<Segment, Error> {
    decode_chunks([bytes])
}

/// Encodes a segment; each page's CRC is computed.
pub fn encode<'a>(
    header: &Header,
    codec: Codec,
    pages: impl IntoIterator<Item = (Pgno, &'a [u8])>,
) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::new(Vec::new(), header.clone(), Compressor::new(codec))?;
    for (pgno, page) in pages {
        encoder.page(pgno, PageCrc::of(pgno, page), page)?;
    }
    Ok(encoder.finish()?.0)
}

/// Encodes a segment from what was decoded, packed pages as they are.
pub fn encode_packed(segment: &Segment) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), segment.header.clone(), Compressor::new(Codec::Lz4))
        .unwrap()
        .with_post_apply_checksum(segment.trailer.post_apply_checksum);
    for page in &segment.pages {
        encoder
            .packed_page(page.pgno, page.codec, page.crc, &page.payload)
            .unwrap();
    }
    let (bytes, trailer, size) = encoder.finish().unwrap();
    assert_eq!(size, bytes.len() as u64);
    assert_eq!(trailer, segment.trailer);
    bytes
}
