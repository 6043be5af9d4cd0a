//! What `worker.js` calls: one database, from its opening to its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use sqlite_wasm_rs::WasmOsCallback;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::AbortSignal;

use super::Error;
use super::database::{Database, Phase, Progress};
use super::http::HttpStore;
use super::opfs::{Folder, OpfsFile};
use super::pushed;
use super::sql::{Cursor, Reader};
use super::values::{Table, parameters};
use crate::restore::Restore;

/// An open database.
#[wasm_bindgen]
#[expect(missing_debug_implementations, reason = "nothing to be seen")]
pub struct Session {
    store: HttpStore,
    folder: Folder,
    database: Rc<Database<OpfsFile>>,
    /// Opened by the first query, lives through refreshes, ends before a restore.
    reader: RefCell<Option<Rc<Reader<OpfsFile>>>>,
    cursors: RefCell<BTreeMap<u32, Cursor<Table>>>,
    last_cursor: Cell<u32>,
    updating: Cell<bool>,
}

#[wasm_bindgen]
impl Session {
    /// Opens the local copy of a database as it is; there may be none.
    pub async fn open(url: String, database: String) -> Result<Session, JsValue> {
        let folder = Folder::of(&url, &database);
        let opened = async {
            let files = folder.open().await?;
            Database::open(files).map_err(Error::from)
        };
        Ok(Self {
            store: HttpStore::new(&url, &database),
            database: Rc::new(opened.await.map_err(|error| thrown(&error))?),
            folder,
            reader: RefCell::new(None),
            cursors: RefCell::default(),
            last_cursor: Cell::new(0),
            updating: Cell::new(false),
        })
    }

    /// Brings the copy to the newest state; `anew`, or where there is none, by restoring all of it.
    pub async fn update(
        &self,
        anew: bool,
        token: String,
        progress: Function,
        signal: AbortSignal,
    ) -> Result<JsValue, JsValue> {
        let store = self.store.with(&token, signal);
        let updated = self.alone(self.update_from(&store, anew, &progress)).await;
        match updated {
            Ok(()) => Ok(self.position()),
            Err(_) if store.is_aborted() => Err(thrown(&Error::Aborted)),
            Err(error) => Err(thrown(&error)),
        }
    }

    /// Applies a segment that was pushed. `false` if it goes on from another state than the copy's.
    pub async fn push(&self, segment: Vec<u8>) -> Result<bool, JsValue> {
        let applied = self.alone(async {
            self.apply().await?;
            let fetched = pushed::fetch(&self.database, segment.into(), |_| {}).await?;
            self.apply().await?;
            Ok(fetched)
        });
        applied.await.map_err(|error| thrown(&error))
    }

    /// Where the copy stands: `{ txid, sum, timestamp, pages, pageSize, size }`, or null.
    pub fn position(&self) -> JsValue {
        self.database.state().map_or(JsValue::NULL, |state| {
            object(&[
                ("txid", state.txid.to_string().into()),
                ("sum", state.sum.to_string().into()),
                ("timestamp", (state.timestamp.0 as f64).into()),
                ("pages", state.commit.into()),
                ("pageSize", state.page_size.get().into()),
                ("size", (state.file_size() as f64).into()),
            ])
        })
    }

    /// Runs one SQL statement: `{ columns, rows, truncated }`.
    pub fn query(&self, sql: &str, given: &JsValue, limit: Option<f64>) -> Result<JsValue, JsValue> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut table = Table::default();
        let mut run = || -> Result<bool, Error> {
            let given = parameters(given)?;
            self.reader()?.query(sql, &given, limit, &mut table)
        };
        let truncated = run().map_err(|error| thrown(&error))?;
        Ok(object(&[
            ("columns", table.columns.into()),
            ("rows", table.rows.into()),
            ("truncated", truncated.into()),
        ]))
    }

    /// Begins to read a statement's rows, but for the first `skip`; returns the number by which it goes on.
    pub fn cursor(&self, sql: String, given: &JsValue, skip: f64) -> Result<u32, JsValue> {
        let open = || -> Result<Cursor<Table>, Error> {
            let given = parameters(given)?;
            Ok(Cursor::new(self.reader()?, sql, given, skip as usize))
        };
        let cursor = open().map_err(|error| thrown(&error))?;
        let id = self.last_cursor.get().wrapping_add(1);
        self.last_cursor.set(id);
        self.cursors.borrow_mut().insert(id, cursor);
        Ok(id)
    }

    /// The next rows of a cursor: `{ columns, rows, done }`, the columns with the first only. It ends with the last.
    pub fn more(&self, id: u32, count: f64) -> Result<JsValue, JsValue> {
        let taken = self.cursors.borrow_mut().remove(&id);
        let mut cursor = taken.ok_or_else(|| thrown(&Error::PositionMoved))?;
        let (table, done) = cursor.next(count as usize).map_err(|error| thrown(&error))?;
        if !done {
            self.cursors.borrow_mut().insert(id, cursor);
        }
        Ok(object(&[
            ("columns", table.columns.into()),
            ("rows", table.rows.into()),
            ("done", done.into()),
        ]))
    }

    /// Ends a cursor early.
    pub fn leave(&self, id: u32) {
        self.cursors.borrow_mut().remove(&id);
    }

    /// A part of the database file, byte for byte as the source has it; empty at its end.
    pub fn read(&self, offset: f64, len: u32) -> Result<Uint8Array, JsValue> {
        let mut bytes = vec![0; len as usize];
        let read = match self.database.state() {
            Some(_) => self
                .database
                .source_bytes(offset as u64, &mut bytes)
                .map_err(Error::from),
            None => Err(Error::NoCopy),
        };
        let read = read.map_err(|error| thrown(&error))?;
        Ok(Uint8Array::from(bytes.get(..read).unwrap_or_default()))
    }

    /// Ends open transactions, so that nothing waits for them.
    pub fn end_statements(&self) {
        self.cursors.take();
        self.reader.take();
    }

    /// Ends the session and deletes the copy.
    pub async fn delete(self) -> Result<(), JsValue> {
        let folder = self.folder.clone();
        drop(self);
        folder.delete().await.map_err(|error| thrown(&error.into()))
    }
}

impl Session {
    async fn update_from(&self, store: &HttpStore, anew: bool, progress: &Function) -> Result<(), Error> {
        let report = |progress_made| {
            // Whoever watches must not be able to stop it.
            let _ = progress.call1(&JsValue::NULL, &described(progress_made));
        };
        self.apply().await?;
        let from = match self.database.state() {
            Some(state) if !anew => state.position(),
            _ => crate::replica::Position::EMPTY,
        };
        let plan = store.plan(from).await?;
        let Some(restore) = Restore::from_plan(store, plan, from).await? else {
            return Ok(());
        };
        if from == crate::replica::Position::EMPTY {
            self.database.idle().await;
            self.end_statements();
            self.database.restore(&restore, report).await?;
            Ok(())
        } else {
            self.database.fetch(&restore, report).await?;
            self.apply().await
        }
    }

    /// The connection.
    fn reader(&self) -> Result<Rc<Reader<OpfsFile>>, Error> {
        if self.database.state().is_none() {
            return Err(Error::NoCopy);
        }
        let mut reader = self.reader.borrow_mut();
        let reader = match &mut *reader {
            Some(reader) => reader,
            none => none.insert(Rc::new(Reader::open(self.database.clone(), WasmOsCallback)?)),
        };
        Ok(reader.clone())
    }

    /// One change at a time.
    async fn alone<T>(&self, change: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.updating.replace(true) {
            return Err(Error::Invalid("an update is under way already".to_owned()));
        }
        let changed = change.await;
        self.updating.set(false);
        changed
    }

    async fn apply(&self) -> Result<(), Error> {
        while self.database.awaits_apply() {
            self.database.idle().await;
            self.database.apply()?;
        }
        Ok(())
    }
}

fn described(progress: Progress) -> JsValue {
    let phase = match progress.phase {
        Phase::Restore => "restore",
        Phase::Refresh => "refresh",
    };
    object(&[
        ("phase", phase.into()),
        ("bytes", (progress.bytes as f64).into()),
        ("totalBytes", (progress.total_bytes as f64).into()),
        ("pages", (progress.pages as f64).into()),
        ("totalPages", (progress.total_pages as f64).into()),
    ])
}

/// An `Error` with a `code`.
fn thrown(error: &Error) -> JsValue {
    let thrown = js_sys::Error::new(&error.to_string());
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}

fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let entries: Array = fields
        .iter()
        .map(|(name, value)| Array::of2(&JsValue::from(*name), value))
        .collect();
    Object::from_entries(&entries).map_or(JsValue::NULL, JsCast::unchecked_into)
}
