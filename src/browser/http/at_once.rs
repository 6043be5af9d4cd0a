//! A state as a Worker tells of it, read without waiting: SQLite asks for a page, and gets it. Only workers may do that.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;

use super::HttpStore;
use super::request::Request;
use crate::browser::Error;
use crate::browser::distant::Far;
use crate::ltx::Pgno;
use crate::replica::{MapWindow, SegmentId};
use crate::store;

/// One state of a database of a Worker.
#[derive(Debug)]
pub struct AtOnce {
    store: HttpStore,
    /// Which state, as the Worker is asked for it: the first answer says which transaction that is.
    state: RefCell<String>,
}

impl AtOnce {
    /// The state that `query` names: `txid=…` or `timestamp=…`; the newest, if it is empty.
    pub fn new(store: HttpStore, query: &str) -> Self {
        let query = match query {
            "" => String::new(),
            query => format!("&{query}"),
        };
        Self {
            store,
            state: RefCell::new(query),
        }
    }

    fn get(&self, path: &str, range: Option<Range<u64>>) -> store::Result<Bytes> {
        let request = Request {
            url: format!("{}{path}", self.store.base),
            token: &self.store.token,
            range,
            signal: None,
        };
        Ok(request.send_at_once()?.body)
    }
}

impl Far for AtOnce {
    fn map(&self, from: Pgno) -> Result<MapWindow, Error> {
        let state = self.state.borrow().clone();
        let bytes = self.get(&format!("/map?from={}{state}", from.0), None)?;
        let window = MapWindow::decode(&bytes)
            .map_err(|error| store::Error::Protocol(format!("what the Worker told of its pages: {error}")))?;
        self.state.replace(format!("&txid={}", window.position.txid));
        Ok(window)
    }

    fn read(&self, object: SegmentId, range: Range<u64>) -> store::Result<Bytes> {
        let len = range.end.saturating_sub(range.start);
        let path = format!("/ltx/{}/{}", object.level, object.file_name());
        let bytes = self.get(&path, Some(range))?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(store::Error::OutOfRange(format!("segment {object}"))),
        }
    }
}
