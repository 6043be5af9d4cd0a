//! A state of a database as it was, or is, beside the local copy: read where it lies, page by page.

use std::rc::Rc;

use sqlite_wasm_rs::WasmOsCallback;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::distant::{Distant, Far};
use super::http::{AtOnce, HttpStore};
use super::sql::Reader;
use super::values::{Table, parameters};
use super::{Error, told};

/// One state.
#[wasm_bindgen]
#[expect(missing_debug_implementations, reason = "nothing to be seen")]
pub struct Moment {
    store: HttpStore,
    image: Rc<Distant<Rc<dyn Far>>>,
    reader: Reader<Distant<Rc<dyn Far>>>,
}

#[wasm_bindgen]
impl Moment {
    /// The state that `state` names: `txid=…`, or `timestamp=…` for the last one at or before it.
    pub fn open(url: &str, database: &str, token: &str, state: String) -> Result<Moment, JsValue> {
        let open = || -> Result<Moment, Error> {
            let store = HttpStore::new(url, database);
            let far = Rc::new(AtOnce::new(store.authorized(token), &state)) as Rc<dyn Far>;
            let image = Rc::new(Distant::open(far)?);
            let reader = Reader::open(image.clone(), WasmOsCallback);
            let reader = reader.map_err(|error| image.take_failure().unwrap_or(error))?;
            Ok(Self { store, image, reader })
        };
        open().map_err(|error| told::error(&error))
    }

    /// Reads with this token from now on.
    pub fn authorize(&self, token: &str) {
        let state = format!("txid={}", self.image.position().txid);
        let store = self.store.authorized(token);
        self.image.go_by(Rc::new(AtOnce::new(store, &state)));
    }

    /// As that of the local copy, but for the sum, which nobody has computed here; and whether every page that was read so far
    /// was held against a check of its own.
    pub fn position(&self) -> JsValue {
        let image = &self.image;
        told::object(&[
            ("txid", image.position().txid.to_string().into()),
            ("sum", told::sum(image.position())),
            ("timestamp", (image.timestamp().0 as f64).into()),
            ("pages", image.commit().into()),
            ("pageSize", image.page_size().get().into()),
            (
                "size",
                (image.page_size().file_size(image.commit()) as f64).into(),
            ),
            ("verified", image.is_verified().into()),
        ])
    }

    /// Runs one SQL statement: `{ columns, rows, truncated }`.
    pub fn query(&self, sql: &str, given: &JsValue, limit: Option<f64>) -> Result<JsValue, JsValue> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut table = Table::default();
        let mut run = || -> Result<bool, Error> {
            let given = parameters(given)?;
            let ran = self.reader.query(sql, &given, limit, &mut table);
            // SQLite only knows that a page could not be read.
            ran.map_err(|error| self.image.take_failure().unwrap_or(error))
        };
        let truncated = run().map_err(|error| told::error(&error))?;
        Ok(table.answer(truncated))
    }
}
