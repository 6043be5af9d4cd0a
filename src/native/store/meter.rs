//! Counts what is asked of a destination: that is what it costs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A kind of request, as providers price them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Creates an object, or a part of one; also what starts and ends an upload in parts.
    Put,
    /// Reads an object or a range of it.
    Get,
    /// One page of a listing.
    List,
    /// Looks at an object.
    Head,
    /// Deletes an object, or an upload that was given up.
    Delete,
}

/// The upper bounds of the buckets of durations, in seconds; one more bucket takes the rest.
pub const BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Everything asked of one destination since the start. Requests over HTTP are counted one by one as they are sent,
/// attempts that failed too; in a folder, each operation counts as one.
///
/// Shared with HTTP clients that may run on other threads, hence atomic; nobody ever waits for it.
#[derive(Debug, Default)]
pub struct Meter {
    kinds: [Counter; Kind::ALL.len()],
    errors: Mutex<BTreeMap<(Kind, String), u64>>,
}

/// The requests of one kind.
#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Put, Self::Get, Self::List, Self::Head, Self::Delete];

    /// `PUT`, `GET`, `LIST`, `HEAD` or `DELETE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
        }
    }
}

impl Meter {
    /// At zero.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A request was answered, or failed, after a while.
    pub fn request(&self, kind: Kind, took: Duration) {
        let counter = self.of(kind);
        counter.requests.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counter.micros.fetch_add(micros, Ordering::Relaxed);
        let bucket = BUCKETS.iter().position(|&bound| took.as_secs_f64() <= bound);
        if let Some(bucket) = counter.buckets.get(bucket.unwrap_or(BUCKETS.len())) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes of content were sent.
    pub fn sent(&self, kind: Kind, bytes: u64) {
        self.of(kind).sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of content were received.
    pub fn received(&self, kind: Kind, bytes: u64) {
        self.of(kind).received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request ended badly: a status or the name of a fault.
    pub fn error(&self, kind: Kind, code: impl Into<String>) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let count = errors.entry((kind, code.into())).or_default();
        *count = count.saturating_add(1);
    }

    /// How many requests of a kind there were.
    pub fn requests(&self, kind: Kind) -> u64 {
        self.of(kind).requests.load(Ordering::Relaxed)
    }

    /// How many requests there were in all.
    pub fn all_requests(&self) -> u64 {
        Kind::ALL.iter().map(|&kind| self.requests(kind)).sum()
    }

    /// Bytes of content sent with a kind of request.
    pub fn bytes_sent(&self, kind: Kind) -> u64 {
        self.of(kind).sent.load(Ordering::Relaxed)
    }

    /// Bytes of content received with a kind of request.
    pub fn bytes_received(&self, kind: Kind) -> u64 {
        self.of(kind).received.load(Ordering::Relaxed)
    }

    /// The time that requests of a kind took until they were answered, in seconds, in all.
    pub fn seconds(&self, kind: Kind) -> f64 {
        Duration::from_micros(self.of(kind).micros.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// How many requests of a kind took how long: those up to each of [`BUCKETS`] and beyond the one before, and the
    /// rest.
    pub fn durations(&self, kind: Kind) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| {
            let counter = self.of(kind).buckets.get(bucket);
            counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
        })
    }

    /// What ended badly, by kind and code.
    pub fn errors(&self) -> Vec<(Kind, String, u64)> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors
            .iter()
            .map(|((kind, code), count)| (*kind, code.clone(), *count))
            .collect()
    }

    fn of(&self, kind: Kind) -> &Counter {
        let [put, get, list, head, delete] = &self.kinds;
        match kind {
            Kind::Put => put,
            Kind::Get => get,
            Kind::List => list,
            Kind::Head => head,
            Kind::Delete => delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_kind_and_by_how_long_it_took() {
        let meter = Meter::default();
        meter.request(Kind::Put, Duration::from_millis(7));
        meter.request(Kind::Put, Duration::from_secs(60));
        meter.request(Kind::Get, Duration::ZERO);
        meter.sent(Kind::Put, 100);
        meter.received(Kind::Get, 50);
        meter.error(Kind::Put, "503");
        meter.error(Kind::Put, "503");
        assert_eq!((meter.requests(Kind::Put), meter.all_requests()), (2, 3));
        assert_eq!(
            (meter.bytes_sent(Kind::Put), meter.bytes_received(Kind::Get)),
            (100, 50)
        );
        assert_eq!(meter.seconds(Kind::Put), 60.007);
        let durations = meter.durations(Kind::Put);
        assert_eq!((durations[1], durations[12]), (1, 1));
        assert_eq!(durations.iter().sum::<u64>(), 2);
        assert_eq!(meter.errors(), [(Kind::Put, "503".to_owned(), 2)]);
    }
}
