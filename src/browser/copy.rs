//! A local copy without SQLite: restored and kept up to date, for the [`session`](super::session), and for whoever brings
//! an SQLite of their own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Uint8Array};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::AbortSignal;

use super::Error;
use super::database::{Database, Progress, State};
use super::http::HttpStore;
use super::opfs::{Folder, OpfsFile};
use super::{pushed, told};
use crate::replica::{Plan, Position};
use crate::restore::{self, Restore};

/// So often a plan is made anew because something of it was gone.
const AGAIN: u32 = 3;
/// A request costs whoever answers as much as a MiB does: fewer at once, and longer ones.
const PARALLEL: usize = 4;
const READ: u64 = 4 * 1024 * 1024;

/// The files of one database, held until its end.
#[wasm_bindgen]
#[expect(missing_debug_implementations, reason = "nothing to be seen")]
pub struct LocalCopy {
    pub(super) store: HttpStore,
    folder: Folder,
    pub(super) database: Rc<Database<OpfsFile>>,
    changing: Cell<bool>,
    /// Called before each restore, when nobody reads: lets go of what cannot live through it.
    pub(super) release: RefCell<Option<Box<dyn Fn()>>>,
}

#[wasm_bindgen]
impl LocalCopy {
    /// Opens the copy of a database as it is; there may be none.
    pub async fn open(url: String, database: String) -> Result<LocalCopy, JsValue> {
        let folder = Folder::of(&url, &database);
        let opened = async {
            let files = folder.open().await?;
            Database::open(files).map_err(Error::from)
        };
        Ok(Self {
            store: HttpStore::new(&url, &database),
            database: Rc::new(opened.await.map_err(|error| told::error(&error))?),
            folder,
            changing: Cell::new(false),
            release: RefCell::new(None),
        })
    }

    /// Brings it to the newest state; `anew`, or where there is none, by restoring all of it.
    pub async fn update(
        &self,
        anew: bool,
        token: String,
        progress: Function,
        signal: AbortSignal,
    ) -> Result<JsValue, JsValue> {
        let store = self.store.with(&token, signal);
        let updated = self.alone(self.update_from(&store, anew, &progress)).await;
        store.told(updated)?;
        Ok(self.position())
    }

    /// Applies a segment that was pushed. `false` if it goes on from another state.
    pub async fn push(&self, segment: Vec<u8>) -> Result<bool, JsValue> {
        let applied = self.alone(async {
            self.apply().await?;
            let fetched = pushed::fetch(&self.database, segment.into(), &mut |_| {}).await?;
            self.apply().await?;
            Ok(fetched)
        });
        applied.await.map_err(|error| told::error(&error))
    }

    /// Where it stands: `{ txid, sum, timestamp, pages, pageSize, size }`, or null.
    pub fn position(&self) -> JsValue {
        told::position(self.database.state(), self.database.is_verified())
    }

    /// A part of the database file, byte for byte as the source has it; empty at its end.
    pub fn read(&self, offset: f64, len: u32) -> Result<Uint8Array, JsValue> {
        let mut bytes = vec![0; len as usize];
        let read = match self.database.state() {
            Some(State { is_whole: true, .. }) => self
                .database
                .source_bytes(offset as u64, &mut bytes)
                .map_err(Error::from),
            _ => Err(Error::NoCopy),
        };
        let read = read.map_err(|error| told::error(&error))?;
        Ok(Uint8Array::from(bytes.get(..read).unwrap_or_default()))
    }

    /// Ends it and deletes its files.
    pub async fn delete(self) -> Result<(), JsValue> {
        let folder = self.folder.clone();
        drop(self);
        folder.delete().await.map_err(|error| told::error(&error.into()))
    }
}

/// Does what chooses out of a listing, and does it again where upkeep has deleted something since: what it held is elsewhere now.
pub(super) async fn chosen_again<T>(
    store: &HttpStore,
    attempt: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..AGAIN {
        match attempt().await {
            Err(Error::Restore(restore::Error::Missing(_))) if store.is_plain() => store.forget(),
            result => return result,
        }
    }
    attempt().await
}

/// A plan that is ready to be carried out, if it leads anywhere.
pub(super) async fn prepared(
    store: &HttpStore,
    plan: Plan,
    from: Position,
) -> Result<Option<Restore<'_>>, Error> {
    Ok(Restore::from_plan_in(store, plan, from, PARALLEL, READ).await?)
}

impl LocalCopy {
    async fn update_from(&self, store: &HttpStore, anew: bool, progress: &Function) -> Result<(), Error> {
        let report = |progress_made| {
            // Whoever watches must not be able to stop it.
            let _ = progress.call1(&JsValue::NULL, &told::progress(progress_made));
        };
        self.apply().await?;
        let from = match self.database.state() {
            Some(state) if !anew => state.position(),
            _ => Position::EMPTY,
        };
        chosen_again(store, async || {
            let plan = store.plan(from).await?;
            self.carry_out(store, plan, from, &mut { report }).await
        })
        .await
    }

    async fn carry_out(
        &self,
        store: &HttpStore,
        plan: Plan,
        from: Position,
        report: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let Some(restore) = prepared(store, plan, from).await? else {
            return Ok(());
        };
        if from == Position::EMPTY {
            self.database.idle().await;
            if let Some(release) = &*self.release.borrow() {
                release();
            }
            self.database.restore(&restore, report).await?;
            Ok(())
        } else {
            self.database.fetch(&restore, report).await?;
            self.apply().await
        }
    }

    /// One change at a time.
    pub(super) async fn alone<T>(&self, change: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.changing.replace(true) {
            return Err(Error::Invalid("an update is under way already".to_owned()));
        }
        let changed = change.await;
        self.changing.set(false);
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
