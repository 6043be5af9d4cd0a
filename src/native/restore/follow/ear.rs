//! Hears what a Worker tells those who follow: what leads on from the copy is taken as it comes, anything else is asked
//! for by who waits here.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::ltx::{Header, Txid};
use crate::native::store::{Live, News, Told};
use crate::replica::{Level, Plan, Position, SegmentId, SegmentInfo};
use crate::store::{Error, MemoryStore, Store};

/// The pauses between attempts to join: the first, and what they double up to.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// One that takes longer is given up: meanwhile nobody polls.
const JOINING: Duration = Duration::from_secs(10);
/// However quiet it is, so often the Worker is asked nevertheless.
const LOOK_ANYWAY: Duration = Duration::from_secs(600);
/// What is applied at once, at most.
const MAX_SEGMENTS: usize = 256;
const MAX_BYTES: u64 = 8 * 1024 * 1024;

pub(super) struct Ear<'a> {
    live: Option<&'a Live>,
    news: Option<News>,
    /// After an attempt that failed: the next one, and the pause after that.
    not_before: Option<Instant>,
    pause: Duration,
}

/// Segments that were pushed and lead on from the copy, one after the other.
pub(super) struct Pushed {
    pub(super) plan: Plan,
    pub(super) store: MemoryStore,
    at: Txid,
    bytes: u64,
}

impl<'a> Ear<'a> {
    pub(super) fn new(live: Option<&'a Live>) -> Self {
        Self {
            live,
            news: None,
            not_before: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits until the copy, which is at `at`, may be behind: for news, or where none come, for so long. Returns what was
    /// pushed; if that is nothing, it is time to ask.
    pub(super) async fn wait(&mut self, at: Position, pause: Duration) -> Option<Pushed> {
        self.join().await;
        let Some(news) = &mut self.news else {
            sleep(pause).await;
            return None;
        };
        match timeout(LOOK_ANYWAY, hear(news, at)).await {
            Ok(Ok(pushed)) => pushed,
            Ok(Err(error)) => {
                self.lose(&error);
                None
            }
            Err(_) => None,
        }
    }

    async fn join(&mut self) {
        let is_early = self.not_before.is_some_and(|time| Instant::now() < time);
        let Some(live) = self.live.filter(|_| self.news.is_none() && !is_early) else {
            return;
        };
        match timeout(JOINING, live.join()).await {
            Ok(Ok(news)) => {
                tracing::debug!("news come as they happen");
                self.news = Some(news);
                self.pause = FIRST_PAUSE;
            }
            Ok(Err(error)) => self.lose(&error),
            Err(_) => self.lose(&Error::Unavailable(
                "joining those who follow takes too long".to_owned(),
            )),
        }
    }

    /// Goes on by polling; joins again later, if that may succeed.
    fn lose(&mut self, error: &Error) {
        self.news = None;
        if error.is_passing() {
            tracing::debug!("{error}; polling meanwhile");
            self.not_before = Instant::now().checked_add(self.pause);
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        } else {
            tracing::info!("{error}; polling instead");
            self.live = None;
        }
    }
}

/// Waits for what is beyond `at`.
async fn hear(news: &mut News, at: Position) -> Result<Option<Pushed>, Error> {
    let mut pushed = Pushed {
        plan: Plan::default(),
        store: MemoryStore::default(),
        at: at.txid,
        bytes: 0,
    };
    loop {
        match news.next().await? {
            Told::Position(position) if position == at => {}
            Told::Position(_) => return Ok(None),
            Told::Segment(segment) => match pushed.add(segment).await {
                Fit::Old => {}
                Fit::Next => break,
                Fit::Gap => return Ok(None),
            },
        }
    }
    // What came meanwhile is applied with it.
    while pushed.plan.segments.len() < MAX_SEGMENTS && pushed.bytes < MAX_BYTES {
        match news.told()? {
            None => break,
            Some(Told::Segment(segment)) => match pushed.add(segment).await {
                Fit::Old | Fit::Next => {}
                Fit::Gap => return Ok(None),
            },
            Some(Told::Position(position)) if position.txid <= pushed.at => {}
            Some(Told::Position(_)) => return Ok(None),
        }
    }
    Ok(Some(pushed))
}

/// How a segment goes on from those before it.
enum Fit {
    /// They hold it already.
    Old,
    Next,
    /// Something is missing between, or it is no segment.
    Gap,
}

impl Pushed {
    async fn add(&mut self, bytes: Bytes) -> Fit {
        let Some(Ok(header)) = bytes.first_chunk().map(Header::parse) else {
            return Fit::Gap;
        };
        if header.max_txid <= self.at {
            return Fit::Old;
        }
        let id = SegmentId::new(Level::RAW, header.min_txid, header.max_txid);
        let Some(id) = id.filter(|id| Some(id.min) == self.at.next()) else {
            return Fit::Gap;
        };
        let size = bytes.len() as u64;
        self.plan.segments.push(SegmentInfo {
            id,
            size,
            timestamp: Some(header.timestamp),
        });
        if self.store.create(id, &bytes).await.is_err() {
            return Fit::Gap;
        }
        self.at = id.max;
        self.bytes = self.bytes.saturating_add(size);
        Fit::Next
    }
}
