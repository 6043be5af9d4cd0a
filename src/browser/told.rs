//! What JavaScript is told, as its own values.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::Error;
use super::database::{Phase, Progress, State};
use crate::replica::Position;

/// `{ txid, sum, timestamp, pages, pageSize, size, whole, verified }`, or null.
pub(super) fn position(state: Option<State>, is_verified: bool) -> JsValue {
    state.map_or(JsValue::NULL, |state| {
        object(&[
            ("txid", state.txid.to_string().into()),
            ("sum", sum(state.position())),
            ("timestamp", (state.timestamp.0 as f64).into()),
            ("pages", state.commit.into()),
            ("pageSize", state.page_size.get().into()),
            ("size", (state.file_size() as f64).into()),
            ("whole", state.is_whole.into()),
            ("verified", is_verified.into()),
        ])
    })
}

/// The sum, or null where it is not known.
pub(super) fn sum(position: Position) -> JsValue {
    position.sum.map_or(JsValue::NULL, |sum| sum.to_string().into())
}

/// `{ phase, bytes, totalBytes, pages, totalPages }`.
pub(super) fn progress(progress: Progress) -> JsValue {
    let phase = match progress.phase {
        Phase::Restore => "restore",
        Phase::Refresh => "refresh",
        Phase::Hydrate => "hydrate",
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
pub(super) fn error(error: &Error) -> JsValue {
    let told = js_sys::Error::new(&error.to_string());
    let _ = Reflect::set(&told, &"code".into(), &error.code().into());
    told.into()
}

pub(super) fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let entries: Array = fields
        .iter()
        .map(|(name, value)| Array::of2(&JsValue::from(*name), value))
        .collect();
    Object::from_entries(&entries).map_or(JsValue::NULL, JsCast::unchecked_into)
}
