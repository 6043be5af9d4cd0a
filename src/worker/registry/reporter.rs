//! A database's end: counts, and reports now and then.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use worker::wasm_bindgen_futures::spawn_local;
use worker::{Date, Env, Method, Request, RequestInit};

use super::registry;
use super::report::Report;
use crate::worker::failure::Failure;
use crate::worker::ledger::State;
use crate::worker::replica::Replica;
use crate::worker::upkeep;

/// Reports cost a request each: there are not more of them. Tests do not wait as long.
const INTERVAL_MS: u64 = if cfg!(feature = "fault-points") {
    100
} else {
    30_000
};

/// Reports what becomes of one database.
#[derive(Debug)]
pub(in crate::worker) struct Reporter {
    env: Env,
    /// What has not been reported yet.
    counted: Rc<RefCell<Report>>,
    last: Cell<u64>,
    has_news: Cell<bool>,
}

impl Reporter {
    pub(in crate::worker) fn new(env: Env) -> Self {
        Self {
            env,
            counted: Rc::default(),
            last: Cell::new(0),
            has_news: Cell::new(false),
        }
    }

    /// Something is not as it was reported.
    pub(in crate::worker) fn changed(&self) {
        self.has_news.set(true);
    }

    /// Counts an upload of so many bytes, of which a transaction came if it moved the replica.
    pub(in crate::worker) fn uploaded(&self, bytes: u64, moved: bool, seen: Option<i64>) {
        let mut counted = self.counted.borrow_mut();
        counted.uploaded_bytes = counted.uploaded_bytes.saturating_add(bytes);
        if moved {
            let now = i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX);
            counted.uploads = counted.uploads.saturating_add(1);
            counted.last_upload = Some(now);
            counted.lag_ms = seen.map(|seen| now.saturating_sub(seen).max(0));
        }
        self.changed();
    }

    /// Counts one that was refused.
    pub(in crate::worker) fn refused(&self, code: &str) {
        let mut counted = self.counted.borrow_mut();
        let count = counted.refused.entry(code.to_owned()).or_default();
        *count = count.saturating_add(1);
        self.changed();
    }

    /// Whether an upload was refused that has not been reported.
    pub(in crate::worker) fn has_refused(&self) -> bool {
        !self.counted.borrow().refused.is_empty()
    }

    /// Reports, if there is something new and the last report is not of this moment; nobody waits for it.
    pub(in crate::worker) fn report(&self, replica: &Replica) -> Result<(), Failure> {
        let now = Date::now().as_millis();
        let is_due = now.saturating_sub(self.last.get()) >= INTERVAL_MS;
        let State::Known(head, ..) = replica.ledger.open()? else {
            return Ok(());
        };
        if !is_due || !self.has_news.get() {
            return Ok(());
        }
        self.last.set(now);
        self.has_news.set(false);
        let failures = upkeep::trouble(&replica.ledger)?.map_or(0, |trouble| trouble.failures);
        let report = Report {
            name: replica.store.db().to_string(),
            position: head.position,
            page_size: head.page_size,
            commit: head.commit,
            segments: head.segments,
            bytes: head.bytes,
            followers: replica.followers.count(),
            upkeep_failures: failures,
            ..self.counted.take()
        };
        let (env, counted) = (self.env.clone(), Rc::clone(&self.counted));
        spawn_local(async move {
            if send(&env, &report).await.is_err() {
                // Told the next time.
                let since = counted.take();
                *counted.borrow_mut() = since.after(report);
            }
        });
        Ok(())
    }
}

async fn send(env: &Env, report: &Report) -> Result<(), Failure> {
    let text = serde_json::to_string(report).unwrap_or_default();
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(text.into()));
    let request = Request::new_with_init("https://registry/", &init)?;
    registry(env)?.fetch_with_request(request).await?;
    Ok(())
}
