//! A state as a Worker tells of it, or as it is chosen here, read without waiting: SQLite asks for a page, and gets it. Only workers may do that.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use futures_util::FutureExt;
use js_sys::{Date, decode_uri_component};

use super::HttpStore;
use super::plain::{self, Plain};
use crate::browser::Error;
use crate::browser::distant::Far;
use crate::ltx::{Pgno, Timestamp, Txid};
use crate::replica::{MapWindow, Plan, SegmentId, Target};
use crate::restore;
use crate::store::{self, Source};

/// Indexes that are read at once, where there is no Worker to do it.
const PARALLEL: usize = 8;

/// One state of a database.
#[derive(Debug)]
pub struct AtOnce {
    store: HttpStore,
    /// Which state, as the Worker is asked for it: the first answer says which transaction that is.
    state: RefCell<String>,
    /// What makes it, where there is no Worker.
    plan: RefCell<Option<Plan>>,
}

impl AtOnce {
    /// The state that `query` names: `txid=…` or `timestamp=…`; the newest, if it is empty.
    pub fn new(store: HttpStore, query: &str) -> Self {
        let query = match query {
            "" => String::new(),
            query => format!("&{query}"),
        };
        Self {
            store: store.at_once(),
            state: RefCell::new(query),
            plan: RefCell::default(),
        }
    }

    /// The newest state, and the first window of its map, which may be waited for.
    pub async fn newest(store: &HttpStore) -> Result<(Self, MapWindow), Error> {
        let newest = Self::new(store.clone(), "");
        let first = newest.window(store, Pgno(1)).await?;
        Ok((newest, first))
    }

    async fn window(&self, store: &HttpStore, from: Pgno) -> Result<MapWindow, Error> {
        let state = self.state.borrow().clone();
        let window = if store.is_plain() {
            self.chosen(store, &state, from).await?
        } else {
            let answer = store.get(&format!("/map?from={}{state}", from.0), None).await?;
            MapWindow::decode(&answer.body).map_err(|error| {
                store::Error::Protocol(format!("what the Worker told of its pages: {error}"))
            })?
        };
        self.state.replace(format!("&txid={}", window.position.txid));
        Ok(window)
    }

    /// As a Worker would tell it.
    async fn chosen(&self, store: &HttpStore, state: &str, from: Pgno) -> Result<MapWindow, Error> {
        let target = target(state)?;
        let known = self.plan.borrow().clone();
        let plan = match known {
            Some(plan) => plan,
            None => plain::chosen(store, target, Txid::ZERO).await?,
        };
        let window = restore::map(&Plain(store), &plan, target, from.0..=u32::MAX, PARALLEL).await?;
        self.plan.replace(Some(plan));
        Ok(window)
    }
}

/// What does not wait for anything.
fn now<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let done = work.now_or_never();
    let waits = || store::Error::Unavailable("something that must not wait has waited".to_owned());
    done.ok_or_else(waits)?
}

fn target(state: &str) -> Result<Target, Error> {
    let invalid = || Error::Invalid(format!("{state} is no state"));
    match state.trim_start_matches('&').split_once('=') {
        None => Ok(Target::Latest),
        Some(("txid", txid)) => Ok(Target::Txid(txid.parse().map_err(|_| invalid())?)),
        Some((_, time)) => {
            let time = decode_uri_component(time).map_err(|_| invalid())?;
            Ok(Target::Time(Timestamp(Date::parse(&String::from(time)) as i64)))
        }
    }
}

impl Far for AtOnce {
    fn map(&self, from: Pgno) -> Result<MapWindow, Error> {
        now(self.window(&self.store, from))
    }

    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        let read = self.store.read(object, range).now_or_never();
        read.unwrap_or_else(|| Err(store::Error::OutOfRange(format!("segment {object}"))))
    }
}
