//! How fast segments are written and read in each codec, and how small they get, on the pages of a real database:
//!
//! ```text
//! cargo run --release --no-default-features --example ltx_speed -- app.db
//! ```
//!
//! Times are of one thread. `floor` is what cannot be saved: unpacking each page, and one CRC of it.

use std::hint::black_box;
use std::time::Instant;

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, compress, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use walferry::ltx::{
    Codec, Compressor, Decoder, Decompressor, Encoder, Event, Header, PageCrc, PageSize, Pgno, Timestamp,
    Txid, decode_frame,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("which database?")?;
    let database = std::fs::read(&path)?;
    let page_size = match database.get(16..18) {
        Some(&[0, 1]) => 65_536,
        Some(&[high, low]) => u32::from(high) << 8 | u32::from(low),
        _ => return Err("no database".into()),
    };
    let page_size = PageSize::new(page_size)?;
    println!(
        "{path}: {:.1} MB, pages of {}",
        database.len() as f64 / 1e6,
        page_size.get()
    );
    println!(
        "{:10} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "codec", "size", "encode", "decode", "frames", "floor"
    );
    for codec in Codec::ALL {
        codec_speed(codec, &database, page_size)?;
    }
    println!(
        "{:10} {:>7} {:>9}",
        "CRC alone",
        "",
        rate(&database, || {
            for (pgno, page) in pages(&database, page_size) {
                black_box(PageCrc::of(pgno, page));
            }
            Ok(())
        })?
    );
    let mut deflate = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(1, -15, 0)));
    println!(
        "{:10} {:>7} {:>9}",
        "reset",
        "",
        rate(&database, || {
            for _ in pages(&database, page_size) {
                black_box(&mut deflate).reset();
            }
            Ok(())
        })?
    );
    for level in 1..=9 {
        deflate_level(level, &database, page_size)?;
    }
    Ok(())
}

fn codec_speed(codec: Codec, database: &[u8], page_size: PageSize) -> Result<()> {
    let commit = u32::try_from(database.len() / page_size.len())?;
    let header = Header::new(page_size, commit, (Txid(1), Txid(1)), Timestamp(0), None);
    let crcs: Vec<_> = pages(database, page_size)
        .map(|(pgno, page)| PageCrc::of(pgno, page))
        .collect();
    let mut segment = Vec::new();
    let encode = rate(database, || {
        segment.clear();
        let mut encoder = Encoder::new(&mut segment, header.clone(), Compressor::new(codec))?;
        for ((pgno, page), crc) in pages(database, page_size).zip(&crcs) {
            encoder.page(pgno, *crc, page)?;
        }
        encoder.finish()?;
        Ok(())
    })?;
    let decode = rate(database, || {
        let mut decoder = Decoder::new();
        for chunk in segment.chunks(1 << 20) {
            decoder.push(chunk);
            while let Some(event) = decoder.next()? {
                if let Event::Page(page) = event {
                    black_box(page.data);
                }
            }
        }
        Ok(decoder.finish()?)
    })?;
    let (_, entries) = walferry::ltx::index::of(&segment)?;
    let mut page = vec![0; page_size.len()];
    let mut decompressor = Decompressor::default();
    let frames = rate(database, || {
        for entry in &entries {
            let start = usize::try_from(entry.offset)?;
            let frame = segment.get(start..start + entry.len as usize).ok_or("no frame")?;
            black_box(decode_frame(frame, entry.pgno, &mut decompressor, &mut page)?);
        }
        Ok(())
    })?;
    let floor = floor(codec, &segment, database, page_size)?;
    let size = segment.len() as f64 / database.len() as f64;
    println!(
        "{:10} {size:7.3} {encode:>9} {decode:>9} {frames:>9} {floor:>9}",
        codec.name()
    );
    Ok(())
}

fn floor(codec: Codec, segment: &[u8], database: &[u8], page_size: PageSize) -> Result<String> {
    let mut packed = Vec::new();
    let mut decoder = Decoder::new();
    decoder.push(segment);
    while let Some(event) = decoder.next()? {
        if let Event::Page(page) = event {
            packed.push((page.pgno, page.codec, page.payload.to_vec()));
        }
    }
    if codec == Codec::Lz4Frame {
        return Ok(String::new());
    }
    let mut out = vec![0; page_size.len()];
    let mut inflate = Box::<DecompressorOxide>::default();
    rate(database, || {
        for (pgno, codec, payload) in &packed {
            match codec {
                Codec::Lz4 => {
                    lz4_flex::block::decompress_into(payload, &mut out)?;
                }
                Codec::Deflate => {
                    inflate.init();
                    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
                    black_box(decompress(&mut inflate, payload, &mut out, 0, flags));
                }
                _ => out.copy_from_slice(payload),
            }
            black_box(PageCrc::of(*pgno, &out));
        }
        Ok(())
    })
}

fn deflate_level(level: i32, database: &[u8], page_size: PageSize) -> Result<()> {
    let mut deflate = Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(
        level, -15, 0,
    )));
    let mut out = vec![0; page_size.len() * 2];
    let mut size = 0;
    let speed = rate(database, || {
        size = 0;
        for (_, page) in pages(database, page_size) {
            deflate.reset();
            size += compress(&mut deflate, page, &mut out, TDEFLFlush::Finish).2;
        }
        Ok(())
    })?;
    println!(
        "deflate {level}  {:7.3} {speed:>9}",
        size as f64 / database.len() as f64
    );
    Ok(())
}

fn pages(database: &[u8], page_size: PageSize) -> impl Iterator<Item = (Pgno, &[u8])> {
    let lock_page = page_size.lock_page();
    let pages = (1..).map(Pgno).zip(database.chunks_exact(page_size.len()));
    pages.filter(move |(pgno, _)| *pgno != lock_page)
}

/// The best of three runs, in MB of pages a second.
fn rate(database: &[u8], mut run: impl FnMut() -> Result<()>) -> Result<String> {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(format!("{:.0} MB/s", database.len() as f64 / 1e6 / best))
}
