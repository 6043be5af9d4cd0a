//! What `worker.js` calls: one database, from its opening to its end.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Promise, Uint8Array};
use sqlite_wasm_rs::WasmOsCallback;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use super::Error;
use super::copy::{LocalCopy, chosen_again, prepared};
use super::database::{Database, Progress, Reach};
use super::distant::{Far, Mapped};
use super::http::{AtOnce, HttpStore};
use super::opfs::OpfsFile;
use super::sql::{Cursor, Reader};
use super::told;
use super::values::{Table, parameters};
use crate::ltx::Txid;
use crate::replica::{PageSet, Position};

/// An open database.
#[wasm_bindgen]
#[expect(missing_debug_implementations, reason = "nothing to be seen")]
pub struct Session {
    copy: LocalCopy,
    statements: Rc<Statements>,
}

/// What reads the copy. It lives through refreshes, and ends before a restore.
#[derive(Default)]
struct Statements {
    /// Opened by the first query.
    reader: RefCell<Option<Rc<Reader<Database<OpfsFile>>>>>,
    cursors: RefCell<Vec<(u32, Cursor<Table>)>>,
    /// For watched queries alone: its pages are forgotten before each of them.
    watcher: RefCell<Option<Rc<Reader<Database<OpfsFile>>>>>,
    watched: RefCell<Vec<(u32, PageSet)>>,
    last: RefCell<u32>,
}

impl Statements {
    /// A cursor, which goes on only if it is put back.
    fn take(&self, id: u32) -> Option<Cursor<Table>> {
        let mut cursors = self.cursors.borrow_mut();
        let at = cursors.iter().position(|(known, _)| *known == id)?;
        Some(cursors.swap_remove(at).1)
    }

    fn end(&self) {
        self.cursors.take();
        self.reader.take();
        self.watcher.take();
    }
}

#[wasm_bindgen]
impl Session {
    /// Opens the local copy of a database as it is; there may be none.
    pub async fn open(url: String, database: String) -> Result<Session, JsValue> {
        let copy = LocalCopy::open(url, database).await?;
        let statements = Rc::new(Statements::default());
        let released = statements.clone();
        copy.release.replace(Some(Box::new(move || released.end())));
        Ok(Self { copy, statements })
    }

    /// As [`LocalCopy::update`].
    pub async fn update(
        &self,
        anew: bool,
        token: String,
        progress: Function,
        signal: AbortSignal,
    ) -> Result<JsValue, JsValue> {
        self.copy.update(anew, token, progress, signal).await
    }

    /// Begins a copy of the newest state without bringing it: what is read is brought then.
    pub async fn begin(&self, token: String, signal: AbortSignal) -> Result<JsValue, JsValue> {
        let store = self.copy.store.with(&token, signal);
        let begun = self.copy.alone(async {
            let (far, first) = chosen_again(&store, async || AtOnce::newest(&store).await).await?;
            self.statements.end();
            let mapped = Mapped::from_first(Rc::new(far) as Rc<dyn Far>, first);
            self.copy.database.begin(mapped, self.reach(&token))
        });
        store.told(begun.await)?;
        Ok(self.copy.position())
    }

    /// Reads with this token from now on what is missing.
    pub fn authorize(&self, token: &str) {
        self.copy.database.reach(self.reach(token));
    }

    /// Brings what is missing of such a copy, by reads of at most `longest` bytes. Says whether all of it is here then, unproven, if it is not whole at once: it ends
    /// before if it is to `hold`.
    pub async fn hydrate(
        &self,
        token: String,
        longest: f64,
        progress: Function,
        signal: AbortSignal,
    ) -> Result<bool, JsValue> {
        let store = self.copy.store.with(&token, signal);
        let report = |made| {
            let _ = progress.call1(&JsValue::NULL, &told::progress(made));
        };
        let database = &self.copy.database;
        let unpromised = database.state().filter(|state| !state.is_promised());
        let hydrated = match unpromised {
            Some(state) => self.copy.alone(self.complete(&store, state.txid, report)).await,
            None => database.hydrate(&store, longest as u64, report).await,
        };
        store.told(hydrated)
    }

    /// Gives up a part that cannot become a whole.
    pub fn forget(&self) -> Result<(), JsValue> {
        self.statements.end();
        let forgotten = self.copy.database.forget();
        forgotten.map_err(|error| told::error(&error))
    }

    /// Nothing more is to be brought behind than what is on its way.
    pub fn hold(&self) {
        self.copy.database.hold();
    }

    /// Proves that it is whole. While `pause` waits, others have their turn; nothing may be applied.
    pub async fn prove(&self, pause: Function) -> Result<(), JsValue> {
        let pause = async || {
            if let Ok(promise) = pause.call0(&JsValue::NULL) {
                let _ = JsFuture::from(Promise::resolve(&promise)).await;
            }
        };
        let proven = self.copy.alone(self.copy.database.prove(pause)).await;
        proven.map_err(|error| told::error(&error))
    }

    /// As [`LocalCopy::push`].
    pub async fn push(&self, segment: Vec<u8>) -> Result<bool, JsValue> {
        self.copy.push(segment).await
    }

    /// As [`LocalCopy::position`].
    pub fn position(&self) -> JsValue {
        self.copy.position()
    }

    /// As [`LocalCopy::read`].
    pub fn read(&self, offset: f64, len: u32) -> Result<Uint8Array, JsValue> {
        self.copy.read(offset, len)
    }

    /// Runs one SQL statement: `{ columns, rows, truncated }`.
    pub fn query(&self, sql: &str, given: &JsValue, limit: Option<f64>) -> Result<JsValue, JsValue> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut table = Table::default();
        let mut run = || -> Result<bool, Error> {
            let given = parameters(given)?;
            self.reader(&self.statements.reader)?
                .query(sql, &given, limit, &mut table)
        };
        let truncated = run().map_err(|error| self.told(error))?;
        Ok(table.answer(truncated))
    }

    /// As [`Session::query`], and watches under `id` what the answer was read from.
    pub fn watch(&self, id: u32, sql: &str, given: &JsValue, limit: Option<f64>) -> Result<JsValue, JsValue> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut table = Table::default();
        let mut run = || -> Result<bool, Error> {
            let given = parameters(given)?;
            let reader = self.reader(&self.statements.watcher)?;
            let watched = reader.watch(sql, &given, limit, &mut table);
            if reader.is_in_transaction() {
                // Nobody would end it.
                self.statements.watcher.take();
            }
            let (truncated, pages) = watched?;
            self.unwatch(id);
            self.statements.watched.borrow_mut().push((id, pages));
            Ok(truncated)
        };
        let truncated = run().map_err(|error| self.told(error))?;
        Ok(table.answer(truncated))
    }

    /// No more.
    pub fn unwatch(&self, id: u32) {
        self.statements
            .watched
            .borrow_mut()
            .retain(|(known, _)| *known != id);
    }

    /// Which of the watched may have another answer since this was last asked.
    pub fn concerned(&self) -> Vec<u32> {
        let changes = self.copy.database.changes();
        let watched = self.statements.watched.borrow();
        let ids = watched.iter().filter(|(_, read)| changes.concern(read));
        ids.map(|(id, _)| *id).collect()
    }

    /// Begins to read a statement's rows, but for the first `skip`; returns the number by which it goes on.
    pub fn cursor(&self, sql: String, given: &JsValue, skip: f64) -> Result<u32, JsValue> {
        let open = || -> Result<Cursor<Table>, Error> {
            let given = parameters(given)?;
            let reader = self.reader(&self.statements.reader)?;
            Ok(Cursor::new(reader, sql, given, skip as usize))
        };
        let cursor = open().map_err(|error| told::error(&error))?;
        let id = self.statements.last.borrow().wrapping_add(1);
        self.statements.last.replace(id);
        self.statements.cursors.borrow_mut().push((id, cursor));
        Ok(id)
    }

    /// The next rows of a cursor: `{ columns, rows, done }`, the columns with the first only. It ends with the last.
    pub fn more(&self, id: u32, count: f64) -> Result<JsValue, JsValue> {
        let taken = self.statements.take(id);
        let mut cursor = taken.ok_or_else(|| told::error(&Error::PositionMoved))?;
        let (table, done) = cursor.next(count as usize).map_err(|error| self.told(error))?;
        if !done {
            self.statements.cursors.borrow_mut().push((id, cursor));
        }
        Ok(told::object(&[
            ("columns", table.columns.into()),
            ("rows", table.rows.into()),
            ("done", done.into()),
        ]))
    }

    /// Ends a cursor early.
    pub fn leave(&self, id: u32) {
        self.statements.take(id);
    }

    /// Whether a statement has begun a transaction that is open.
    pub fn is_in_transaction(&self) -> bool {
        let reader = self.statements.reader.borrow();
        reader.as_ref().is_some_and(|reader| reader.is_in_transaction())
    }

    /// Whether anything keeps the copy at its state.
    pub fn is_being_read(&self) -> bool {
        self.copy.database.is_being_read()
    }

    /// Whether a new state waits for that.
    pub fn is_awaited(&self) -> bool {
        self.copy.database.is_awaited()
    }

    /// Ends open transactions, so that nothing waits for them.
    pub fn end_statements(&self) {
        self.statements.end();
    }

    /// Ends the session and deletes the copy.
    pub async fn delete(self) -> Result<(), JsValue> {
        self.statements.end();
        self.copy.delete().await
    }
}

impl Session {
    /// Why a statement failed. SQLite only knows that a page could not be read.
    fn told(&self, error: Error) -> JsValue {
        told::error(&self.copy.database.take_failure().unwrap_or(error))
    }

    /// What no sum proves is proven by what it is read from, all of it.
    async fn complete(
        &self,
        store: &HttpStore,
        txid: Txid,
        report: impl FnMut(Progress),
    ) -> Result<bool, Error> {
        let plan = store.plan_of(txid).await?;
        let restore = prepared(store, plan, Position::EMPTY).await?;
        let restore = restore.ok_or(Error::PositionMoved)?;
        self.copy.database.complete(&restore, report).await?;
        Ok(true)
    }

    fn reach(&self, token: &str) -> Reach {
        let store = self.copy.store.authorized(token);
        Box::new(move |txid| {
            let state = txid.map_or_else(String::new, |txid| format!("txid={txid}"));
            Rc::new(AtOnce::new(store.clone(), &state))
        })
    }

    /// A connection, opened when it is first needed.
    fn reader(
        &self,
        kept: &RefCell<Option<Rc<Reader<Database<OpfsFile>>>>>,
    ) -> Result<Rc<Reader<Database<OpfsFile>>>, Error> {
        let database = &self.copy.database;
        if database.state().is_none() {
            return Err(Error::NoCopy);
        }
        let mut kept = kept.borrow_mut();
        let reader = match &mut *kept {
            Some(reader) => reader,
            none => none.insert(Rc::new(Reader::open(database.clone(), WasmOsCallback)?)),
        };
        Ok(reader.clone())
    }
}
