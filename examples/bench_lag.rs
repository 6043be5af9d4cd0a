//! After a run of the benchmark: how long after its commit each transaction was in an object of the replica.
//!
//! ```text
//! bench_lag LOG FOLDER      the log of bench_writer; the folder in which the replica, or the S3 server, keeps its files
//! ```
//!
//! Reads all segments of the lowest level and the snapshots, finds the newest transaction in each by its mark, and
//! takes the change time of the file (its rename into place) for the moment at which it could be seen; that clock
//! moves in ticks of up to four milliseconds. Prints JSON.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walferry::ltx::{Decoder, Event};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MARK: [u8; 4] = [0xF7, b'W', b'F', 0xF7];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [log, folder] = arguments.as_slice() else {
        return Err("bench_lag LOG FOLDER".into());
    };
    let log = std::fs::read(log)?;
    let words: Vec<u64> = log
        .chunks_exact(8)
        .filter_map(|word| word.first_chunk().copied())
        .map(u64::from_le_bytes)
        .collect();
    let mut files = Vec::new();
    find(Path::new(folder), &mut files)?;

    // What can be seen, from when on: ascending in both.
    let mut objects = Vec::new();
    for path in &files {
        objects.push((visible_at(path)?, newest_in(path)?));
    }
    objects.sort_unstable();
    let mut best = 0;
    objects.retain(|(_, newest)| {
        *newest > best && {
            best = *newest;
            true
        }
    });

    let mut lags = Vec::new();
    let mut waiting = Vec::new();
    let mut missing = 0_u64;
    let mut next = objects.iter().peekable();
    for transaction in words.chunks_exact(3) {
        let &[number, _, committed] = transaction else {
            continue;
        };
        // How many would be lost, if the machine ended just after this commit.
        let seen = objects.partition_point(|(at, _)| *at <= committed);
        let safe = seen
            .checked_sub(1)
            .and_then(|last| objects.get(last))
            .map_or(0, |(_, newest)| *newest);
        waiting.push(number.saturating_sub(safe));
        while next.next_if(|(_, newest)| *newest < number).is_some() {}
        match next.peek() {
            Some((at, _)) => lags.push(at.saturating_sub(committed)),
            None => missing += 1,
        }
    }
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    println!(
        r#"{{"lag_p50_ms":{:.2},"lag_p90_ms":{:.2},"lag_p99_ms":{:.2},"lag_max_ms":{:.2},"unshipped_p50":{},"unshipped_max":{},"missing":{missing},"objects":{}}}"#,
        ms(at(&mut lags, 0.5)),
        ms(at(&mut lags, 0.9)),
        ms(at(&mut lags, 0.99)),
        ms(at(&mut lags, 1.0)),
        at(&mut waiting, 0.5),
        at(&mut waiting, 1.0),
        files.len(),
    );
    Ok(())
}

/// The segments of level 0 and the snapshots, in either layout.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ltx") {
            let level = path
                .parent()
                .and_then(Path::file_name)
                .and_then(|name| name.to_str());
            if matches!(level, Some("0" | "9" | "0000" | "0009")) {
                files.push(path);
            }
        }
    }
    Ok(())
}

fn visible_at(path: &Path) -> Result<u64> {
    let file = std::fs::metadata(path)?;
    Ok(u64::try_from(file.ctime())? * 1_000_000_000 + u64::try_from(file.ctime_nsec())?)
}

/// The newest transaction in a segment; 0 if there is none.
fn newest_in(path: &Path) -> Result<u64> {
    let bytes = std::fs::read(path)?;
    let mut decoder = Decoder::new();
    let mut newest = 0;
    for chunk in bytes.chunks(256 * 1024) {
        decoder.push(chunk);
        while let Some(event) = decoder.next()? {
            if let Event::Page(page) = event {
                newest = newest.max(newest_on(page.data));
            }
        }
    }
    Ok(newest)
}

fn newest_on(mut page: &[u8]) -> u64 {
    let mut newest = 0;
    while let Some(found) = page.iter().position(|byte| *byte == MARK[0]) {
        page = page.get(found..).unwrap_or_default();
        if let (Some(&MARK), Some(number)) = (
            page.first_chunk(),
            page.get(4..).and_then(|rest| rest.first_chunk()),
        ) {
            newest = newest.max(u64::from_be_bytes(*number));
        }
        page = page.get(1..).unwrap_or_default();
    }
    newest
}

fn at(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let index = (values.len() as f64 * share) as usize;
    values
        .get(index.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
