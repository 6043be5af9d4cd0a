//! The engine, with real SQLite and in virtual time, through everything that we could think of going wrong: a random
//! application, checkpoints by anybody at any moment, destinations that fail before and after they have done what they
//! were asked, crashes at any step, power cuts that take the database back, local state that is lost or torn. After
//! each seed, and in between, what the replicas hold is held against what the application has committed.
//!
//! ```text
//! WALFERRY_SEED=17 cargo test --test simulation            replays one
//! WALFERRY_SEEDS=5000 cargo test --test simulation         plays the first 5000
//! ```
//!
//! That it can fail was tried by breaking the engine. Sixty seeds found each of these: going on in a WAL of other salts;
//! not keeping the page sums of what was confirmed; taking frames for held that are not; believing a page-sum table
//! without its sum. Not found by sixty: going on by salts alone, without the frame's checksum; not looking again while
//! a commit is under way (`tests/replicate.rs` and `tests/source` are there for these).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]
#![cfg(feature = "native")]

mod application;
mod engine;
mod model;
mod random;
#[path = "../segments/mod.rs"]
mod segments;
mod store;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::Played;

/// So many seeds are played if no one says otherwise.
const SEEDS: u64 = 300;

#[test]
fn what_was_committed_is_restored_whatever_goes_wrong() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let (first, last) = match number("WALFERRY_SEED") {
        Some(seed) => {
            // What the engine has to say about it.
            tracing_subscriber::fmt()
                .with_env_filter("walferry=debug")
                .without_time()
                .init();
            (seed, seed)
        }
        None => (1, number("WALFERRY_SEEDS").unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(first);
    let (failed, played) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let player = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return;
            }
            let name = format!("seed {seed}");
            let thread = std::thread::Builder::new().name(name).spawn(move || play(seed));
            match thread.expect("a thread").join() {
                Ok(what) => played.lock().unwrap().push(what),
                Err(_) => {
                    eprintln!("replay it: WALFERRY_SEED={seed} cargo test --test simulation");
                    failed.lock().unwrap().push(seed);
                }
            }
        }
    };
    let players = std::thread::available_parallelism().map_or(2, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..players {
            scope.spawn(player);
        }
    });
    let (failed, played) = (failed.into_inner().unwrap(), played.into_inner().unwrap());
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed: {failed:?}",
        failed.len(),
        last - first + 1
    );
    let sum = |what: fn(&Played) -> u64| played.iter().map(what).sum::<u64>();
    println!(
        "{} seeds: {} states, {} segments, {} requests, {} crashes, {} restores held against the model",
        played.len(),
        sum(|played| played.states),
        sum(|played| played.segments),
        sum(|played| played.requests),
        sum(|played| played.crashes),
        sum(|played| played.restores)
    );
}

fn play(seed: u64) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, world::play(seed))
}
