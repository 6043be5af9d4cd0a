//! The application of the benchmark: an ordinary SQLite writer that knows nothing of replicators.
//!
//! ```text
//! bench_writer create DB WORKLOAD                  the database, as it is before the workload
//! bench_writer write DB WORKLOAD SECONDS LOG       the workload; prints JSON, logs when each transaction was committed
//! bench_writer check DB                            the newest transaction in it, after an integrity check
//! ```
//!
//! Every row begins with a mark and the number of the transaction that wrote it last, so that the newest transaction
//! in a bunch of pages can be told without SQL (`bench_lag`). The log holds three u64 a transaction, little-endian:
//! its number, and when it began and ended, in nanoseconds of the time of day.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Before the number of a transaction, in each row.
const MARK: [u8; 4] = [0xF7, b'W', b'F', 0xF7];
/// Rows of the database that w4 updates: about 1 GiB.
const LARGE: u64 = 2_400_000;
/// Rows that w3 imports: about 270 MB of database.
const IMPORT: u64 = 600_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["create", path, workload] => create(path, workload),
        ["write", path, workload, seconds, log] => write(path, workload, seconds.parse()?, Path::new(log)),
        ["check", path] => check(path),
        _ => Err("bench_writer create DB WORKLOAD | write DB WORKLOAD SECONDS LOG | check DB".into()),
    }
}

fn open(path: &str) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(20))?;
    db.execute_batch("pragma journal_mode = wal; pragma synchronous = normal")?;
    Ok(db)
}

fn create(path: &str, workload: &str) -> Result<()> {
    let mut db = open(path)?;
    db.execute_batch(
        "create table item (id integer primary key, head blob, kind integer, name text, body blob);
         create index item_name on item (name)",
    )?;
    let rows = match workload {
        "w4" | "large" => LARGE,
        _ => 100,
    };
    let mut random = Random(1);
    let mut next = 0;
    while next < rows {
        let transaction = db.transaction()?;
        for _ in 0..10_000.min(rows - next) {
            insert(&transaction, 0, &mut random, 140)?;
            next += 1;
        }
        transaction.commit()?;
    }
    db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
    Ok(())
}

fn write(path: &str, workload: &str, seconds: f64, log: &Path) -> Result<()> {
    let mut db = open(path)?;
    let mut random = Random(2);
    let mut times: Vec<[u64; 3]> = Vec::new();
    let (rate, end) = match workload {
        "w1" | "w4" => (Some(200.0), Some(seconds)),
        "trickle" => (Some(1.0), Some(seconds)),
        "w2" => (None, Some(seconds)),
        "w3" => (None, None),
        _ => return Err(format!("there is no workload {workload}").into()),
    };
    let start = Instant::now();
    for number in 1.. {
        if end.is_some_and(|end| start.elapsed().as_secs_f64() >= end)
            || (workload == "w3" && number * 1000 > IMPORT)
        {
            break;
        }
        if let Some(rate) = rate {
            let at = Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(at.saturating_sub(start.elapsed()));
        }
        let began = now();
        let transaction = db.transaction()?;
        match workload {
            "w4" => (0..10).try_for_each(|_| update(&transaction, number, &mut random))?,
            "w3" => (0..1000).try_for_each(|_| insert(&transaction, number, &mut random, 140))?,
            "w1" => insert(&transaction, number, &mut random, 500)?,
            _ => insert(&transaction, number, &mut random, 100)?,
        }
        transaction.commit()?;
        times.push([number, began, now()]);
    }
    let took = start.elapsed();
    let wal = std::fs::metadata(format!("{path}-wal")).map_or(0, |file| file.len());
    let mut out = std::io::BufWriter::new(std::fs::File::create(log)?);
    for time in times.iter().flatten() {
        out.write_all(&time.to_le_bytes())?;
    }
    out.flush()?;
    let mut stalls: Vec<u64> = times
        .iter()
        .map(|[_, began, ended]| ended.saturating_sub(*began))
        .collect();
    stalls.sort_unstable();
    let at = |share: f64| {
        let index = (stalls.len() as f64 * share) as usize;
        stalls
            .get(index.min(stalls.len().saturating_sub(1)))
            .map_or(0.0, |ns| *ns as f64 / 1e6)
    };
    println!(
        r#"{{"transactions":{},"seconds":{:.3},"stall_p50_ms":{:.3},"stall_p99_ms":{:.3},"stall_max_ms":{:.3},"wal_bytes":{wal}}}"#,
        times.len(),
        took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

/// One row: a part that repeats, a part that does not.
fn insert(db: &Connection, number: u64, random: &mut Random, noise: usize) -> rusqlite::Result<()> {
    let name = format!("customer {:06}", random.next() % 1_000_000);
    let body = [&random.bytes(noise), TEXT.as_slice()].concat();
    db.prepare_cached("insert into item (head, kind, name, body) values (?, ?, ?, ?)")?
        .execute(params![head(number), (random.next() % 7) as i64, name, body])?;
    Ok(())
}

/// A few rows are updated very often, most hardly ever.
fn update(db: &Connection, number: u64, random: &mut Random) -> rusqlite::Result<()> {
    let id = (LARGE as f64).powf(random.share()) as u64;
    // Neighbours in rank are not neighbours on a page.
    let id = (id.wrapping_mul(1_000_003) % LARGE + 1) as i64;
    db.prepare_cached("update item set head = ?, kind = kind + 1, body = ? where id = ?")?
        .execute(params![
            head(number),
            [&random.bytes(140), TEXT.as_slice()].concat(),
            id
        ])?;
    Ok(())
}

const TEXT: &[u8; 200] =
    b"The order was placed on a weekday, packed in the morning, handed to the carrier in the afternoon, \
signed for by a neighbour, and paid within the fortnight; nothing was returned, and nobody complained ";

fn head(number: u64) -> Vec<u8> {
    [&MARK[..], &number.to_be_bytes()].concat()
}

fn check(path: &str) -> Result<()> {
    let db = Connection::open(path)?;
    let said: String = db.query_row("pragma integrity_check", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(format!("{path} is damaged: {said}").into());
    }
    let newest: Option<Vec<u8>> = db.query_row("select max(head) from item", [], |row| row.get(0))?;
    let number = newest
        .and_then(|head| head.get(4..)?.first_chunk().copied())
        .map_or(0, u64::from_be_bytes);
    println!(r#"{{"newest":{number}}}"#);
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// splitmix64: the same rows in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
        bytes.truncate(len);
        bytes
    }
}
