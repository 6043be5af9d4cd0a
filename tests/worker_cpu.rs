//! What an upload costs workerd in CPU time, as Cloudflare counts it: of the process, over many requests.
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
    pages: BTreeMap<u32, PageCrc>,
    sum: DbSum,
    txid: u64,
    random: u64,
}

impl Database {
    fn new() -> Self {
        Self {
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

    /// Packs by level 4 of deflate to somewhat less than half.
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
            let (number, word) = (self.random(), self.random() as usize % WORDS.len());
            page.extend_from_slice(&number.to_be_bytes());
            page.extend_from_slice(WORDS[word].as_bytes());
            page.push(word as u8);
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

#[test]
fn an_upload_of_64_pages_takes_three_milliseconds_of_cpu() {
    let count: u32 = std::env::var("WALFERRY_CPU_REQUESTS").map_or(300, |count| count.parse().unwrap());
    let state = tempfile::tempdir().unwrap();
    let worker = Worker::start(state.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = client();
        let mut database = Database::new();
        let put = async |(txid, bytes): (Txid, Vec<u8>)| {
            let url = format!("{}/v1/cpu/ltx/0/{txid}-{txid}.ltx", worker.url);
            let answer = client.put(url).bearer_auth(Worker::WRITE_TOKEN).body(bytes).send().await.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        };
        let ask = async || {
            let url = format!("{}/v1/cpu", worker.url);
            let answer = client.get(url).bearer_auth(Worker::WRITE_TOKEN).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
        };
        put(database.next()).await;
        // Compiled, and warm.
        for _ in 0..50 {
            put(database.next()).await;
            ask().await;
        }
        let segments: Vec<_> = (0..count).map(|_| database.next()).collect();
        let bytes = segments.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() / segments.len();
        let start = cpu(&worker);
        for segment in segments {
            put(segment).await;
        }
        let uploaded = cpu(&worker);
        for _ in 0..count {
            ask().await;
        }
        let asked = cpu(&worker);
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(count);
        let (upload, question) = (each(uploaded - start), each(asked - uploaded));
        println!("{count} uploads of {PAGES} pages, {bytes} bytes each: {upload:.2} ms of CPU, of which a request that reads nothing takes {question:.2}");
        assert!(upload <= 3.0, "{upload} ms");
    });
}

/// Both run on the same wasm; a process that does nothing else.
#[test]
fn proving_an_upload_takes_hardly_more_than_unpacking_and_hashing_its_pages() {
    let state = tempfile::tempdir().unwrap();
    let worker = Worker::start_with_faults(state.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = client();
        let mut database = Database::new();
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
        println!(
            "proving takes {:.2} times the CPU of unpacking and hashing",
            ratios[4]
        );
        assert!(ratios[4] <= 1.5, "{ratios:?}");
    });
}
