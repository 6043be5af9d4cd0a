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

    /// As a Worker would tell it.
    fn chosen(&self, from: Pgno) -> Result<MapWindow, Error> {
        let target = target(&self.state.borrow())?;
        let known = self.plan.borrow().clone();
        let plan = match known {
            Some(plan) => plan,
            None => now(plain::chosen(&self.store, target, Txid::ZERO))?,
        };
        let window = now(restore::map(
            &Plain(&self.store),
            &plan,
            target,
            from.0..=u32::MAX,
            1,
        ))?;
        self.plan.replace(Some(plan));
        Ok(window)
    }
}

/// What does not wait for anything.
fn now<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Error>
where
    Error: From<E>,
{
    let done = work.now_or_never();
    let waits = || store::Error::Unavailable("something that must not wait has waited".to_owned());
    Ok(done.ok_or_else(waits)??)
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
        if self.store.is_plain() {
            return self.chosen(from);
        }
        let state = self.state.borrow().clone();
        let bytes = now(self.store.get(&format!("/map?from={}{state}", from.0), None))?.body;
        let window = MapWindow::decode(&bytes)
            .map_err(|error| store::Error::Protocol(format!("what the Worker told of its pages: {error}")))?;
        self.state.replace(format!("&txid={}", window.position.txid));
        Ok(window)
    }

    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        let read = self.store.read(object, range).now_or_never();
        read.unwrap_or_else(|| Err(store::Error::OutOfRange(format!("segment {object}"))))
    }
}
