//! What a Worker answers, parsed by the browser itself: [`crate::json`] would be 2 kB more of each module.

use std::str::FromStr;

use js_sys::{Array, JSON, Number, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::ltx::{Timestamp, Txid};
use crate::replica::{InBundle, Level, Plan, SegmentId, SegmentInfo};

/// A plan, if it is one.
pub(super) fn plan(body: &[u8]) -> Option<Plan> {
    let mut plan = Plan::default();
    for segment in Json::parse(body)?.field("segments").list()?.iter().map(Json) {
        let info = segment.segment()?;
        let bundle = segment.field("bundle");
        if bundle.is_there() {
            let place = InBundle {
                bundle: bundle.segment()?,
                offset: segment.field("offset").integer()?,
                size: info.size,
            };
            plan.bundled.insert(info.id, place);
        }
        plan.segments.push(info);
    }
    Some(plan)
}

/// The sentence of a refusal.
pub(super) fn message(body: &[u8]) -> Option<String> {
    Json::parse(body)?.field("error").field("message").0.as_string()
}

struct Json(JsValue);

impl Json {
    fn parse(text: &[u8]) -> Option<Self> {
        JSON::parse(std::str::from_utf8(text).ok()?).ok().map(Self)
    }

    /// A field of an object; undefined where there is none.
    fn field(&self, name: &str) -> Self {
        Self(Reflect::get(&self.0, &name.into()).unwrap_or_default())
    }

    fn is_there(&self) -> bool {
        !self.0.is_undefined() && !self.0.is_null()
    }

    fn list(&self) -> Option<&Array> {
        self.0.dyn_ref()
    }

    /// A number without a fraction that JavaScript holds exactly, and not below zero.
    fn integer(&self) -> Option<u64> {
        let number = self.0.as_f64().filter(|number| *number >= 0.0)?;
        Number::is_safe_integer(&self.0).then_some(number as u64)
    }

    fn parsed<T: FromStr>(&self) -> Option<T> {
        self.0.as_string()?.parse().ok()
    }

    fn segment(&self) -> Option<SegmentInfo> {
        let level = u8::try_from(self.field("level").integer()?).ok()?;
        let timestamp = self.field("timestamp");
        let timestamp = match timestamp.is_there() {
            true => Some(Timestamp(i64::try_from(timestamp.integer()?).ok()?)),
            false => None,
        };
        Some(SegmentInfo {
            id: SegmentId {
                level: Level::any(level)?,
                min: self.field("min_txid").parsed::<Txid>()?,
                max: self.field("max_txid").parsed::<Txid>()?,
            },
            size: self.field("size").integer()?,
            timestamp,
        })
    }
}
