//! What an upload costs workerd in CPU time, of the whole process, over many requests. Cloudflare counts less: HTTP, the disk and R2
//! are not the Worker's there.
#![cfg(all(feature = "native", target_os = "linux"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use support::Worker;
use walferry::ltx::{
    Codec, Compressor, DbSum, Encoder, Header, PageCrc, PageSize, Pgno, Sums, Timestamp, Txid,
};

const PAGE: u32 = 4096;
const PAGES: u32 = 64;

/// A database of rows of text and numbers, and the segments that an application's writes make of it.
struct Database {
    /// How many words come with each number.
    words: usize,
    pages: BTreeMap<u32, PageCrc>,
    sum: DbSum,
    txid: u64,
    random: u64,
}

impl Database {
    fn new(words: usize) -> Self {
        Self {
            words,
            pages: BTreeMap::new(),
            sum: DbSum::EMPTY,
            txid: 0,
            random: 1,
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A page that packs the better, the more words there are.
    fn page(&mut self) -> Vec<u8> {
        const WORDS: [&str; 8] = [
            "delivered",
            "pending",
            "customer",
            "harbour",
            "invoice",
            "ferry",
            "2026-11-27",
            "Oslo",
        ];
        let mut page = Vec::new();
        while page.len() < PAGE as usize {
            let number = self.random();
            page.extend_from_slice(&number.to_be_bytes());
            for at in 0..self.words {
                let word = (number as usize % WORDS.len() + at) % WORDS.len();
                page.extend_from_slice(WORDS[word].as_bytes());
            }
        }
        page.truncate(PAGE as usize);
        page
    }

    /// The next segment: some pages of a database of 4,096, the first with all of them.
    fn next(&mut self) -> (Txid, Vec<u8>) {
        let first = self.txid == 0;
        let start = self.random() as u32 % 4000;
        let numbers = if first {
            1..=4096
        } else {
            start + 1..=start + PAGES
        };
        let changed: Vec<(Pgno, Vec<u8>)> = numbers.map(|pgno| (Pgno(pgno), self.page())).collect();
        let before = self.sum;
        for (pgno, page) in &changed {
            let crc = PageCrc::of(*pgno, page);
            if let Some(old) = self.pages.insert(pgno.0, crc) {
                self.sum = self.sum.minus(old);
            }
            self.sum = self.sum.plus(crc);
        }
        self.txid += 1;
        let txid = Txid(self.txid);
        let sums = Some(Sums {
            before,
            after: self.sum,
        });
        let time = Timestamp(1_700_000_000_000 + self.txid as i64);
        let header = Header::new(PageSize::new(PAGE).unwrap(), 4096, (txid, txid), time, sums);
        let mut encoder = Encoder::new(Vec::new(), header, Compressor::new(Codec::Deflate)).unwrap();
        for (pgno, page) in &changed {
            encoder.page(*pgno, self.pages[&pgno.0], page).unwrap();
        }
        (txid, encoder.finish().unwrap().0)
    }
}

/// The CPU time that workerd, which the Worker's process has started, has used.
fn cpu(worker: &Worker) -> Duration {
    let mut waiting = vec![worker.id()];
    while let Some(parent) = waiting.pop() {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        for child in children
            .split_whitespace()
            .map(|child| child.parse::<u32>().unwrap())
        {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
            let (name, rest) = stat.rsplit_once(')').unwrap();
            if name.ends_with("(workerd") {
                let fields: Vec<&str> = rest.split_whitespace().collect();
                let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
                return Duration::from_millis(ticks * 10);
            }
            waiting.push(child);
        }
    }
    panic!("there is no workerd");
}

fn client() -> reqwest::Client {
    reqwest::Client::new()
}

/// A database in the Worker, and requests to it.
struct Uploader<'a> {
    client: &'a reqwest::Client,
    url: String,
    database: Database,
}

impl<'a> Uploader<'a> {
    /// Has uploaded the whole database.
    async fn new(client: &'a reqwest::Client, worker: &Worker, name: &str, words: usize) -> Self {
        let mut uploader = Self {
            client,
            url: format!("{}/v1/{name}", worker.url),
            database: Database::new(words),
        };
        uploader.put().await;
        uploader
    }

    /// How many bytes it sent.
    async fn put(&mut self) -> usize {
        let (txid, bytes) = self.database.next();
        let len = bytes.len();
        let url = format!("{}/ltx/0/{txid}-{txid}.ltx", self.url);
        let request = self.client.put(url).bearer_auth(Worker::WRITE_TOKEN);
        let answer = request.body(bytes).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        len
    }

    async fn ask(&self) {
        let request = self.client.get(&self.url).bearer_auth(Worker::WRITE_TOKEN);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }
}

/// The uploaders of so many segments, and one whose uploads have warmed the Worker up.
async fn uploaders<'a>(
    client: &'a reqwest::Client,
    worker: &Worker,
    name: &str,
    words: usize,
    count: u32,
) -> (Vec<Uploader<'a>>, Uploader<'a>) {
    let mut uploaders = Vec::new();
    for number in 0..count.div_ceil(EACH) {
        uploaders.push(Uploader::new(client, worker, &format!("{name}{number}"), words).await);
    }
    let mut first = Uploader::new(client, worker, &format!("{name}-first"), words).await;
    for _ in 0..100 {
        first.put().await;
        first.ask().await;
    }
    (uploaders, first)
}

/// No more segments of one database are kept before upkeep has its turn.
const EACH: u32 = 200;

fn each(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1000.0 / f64::from(count)
}

#[test]
fn an_upload_of_64_pages_takes_few_milliseconds_of_cpu() {
    let count: u32 = std::env::var("WALFERRY_CPU_REQUESTS").map_or(200, |count| count.parse().unwrap());
    let state = tempfile::tempdir().unwrap();
    let worker = Worker::start(state.path());
    runtime().block_on(async {
        let client = client();
        for (name, words, limit) in [("kept", 8, 8.0), ("bucket", 1, 20.0)] {
            let (mut uploaders, first) = uploaders(&client, &worker, name, words, count).await;
            let start = cpu(&worker);
            let mut bytes = 0;
            for at in 0..count {
                bytes += uploaders[(at / EACH) as usize].put().await;
            }
            let uploaded = cpu(&worker);
            for _ in 0..count {
                first.ask().await;
            }
            let upload = each(uploaded - start, count);
            let question = each(cpu(&worker) - uploaded, count);
            let bytes = bytes / count as usize;
            println!("{name}: {count} uploads of {PAGES} pages, {bytes} bytes each: {upload:.2} ms of CPU; a request that reads nothing takes {question:.2}");
            assert_eq!(bytes <= 64 << 10, name == "kept", "{bytes}");
            assert!(upload <= limit, "{upload} ms");
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Both run on the same wasm; a process that does nothing else.
#[test]
fn proving_an_upload_takes_hardly_more_than_unpacking_and_hashing_its_pages() {
    let state = tempfile::tempdir().unwrap();
    let worker = Worker::start_with_faults(state.path());
    runtime().block_on(async {
        let client = client();
        let mut database = Database::new(1);
        database.next();
        let (_, segment) = database.next();
        let run = async |what: &str| {
            let url = format!("{}/v1/-/{what}/100", worker.url);
            let before = cpu(&worker);
            let answer = client
                .post(url)
                .bearer_auth(Worker::WRITE_TOKEN)
                .body(segment.clone())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
            (cpu(&worker) - before).as_secs_f64()
        };
        run("prove").await;
        run("unpack").await;
        let mut ratios = Vec::new();
        for _ in 0..9 {
            let (unpacked, proven) = (run("unpack").await, run("prove").await);
            ratios.push(proven / unpacked);
        }
        ratios.sort_by(f64::total_cmp);
        let each = run("prove").await * 10.0;
        println!(
            "proving takes {each:.2} ms, {:.2} times the CPU of unpacking and hashing",
            ratios[4]
        );
        assert!(ratios[4] <= 1.5, "{ratios:?}");
    });
}
