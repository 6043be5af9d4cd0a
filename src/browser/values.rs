//! SQL values as JavaScript's, both ways.

use js_sys::{Array, ArrayBuffer, BigInt, Number, Object, Uint8Array};
use rusqlite::types::{Value, ValueRef};
use wasm_bindgen::{JsCast, JsValue};

use super::sql::{Parameters, Sink};
use super::{Error, told};

/// The largest integer that a JavaScript number holds with all between it and zero; beyond it comes a BigInt.
const MAX_SAFE: i64 = (1 << 53) - 1;

/// A result as `{ columns: [...], rows: [[...], ...] }`.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Array,
    pub(super) rows: Array,
    row: Array,
}

impl Table {
    /// `{ columns, rows, truncated }`.
    pub(super) fn answer(self, truncated: bool) -> JsValue {
        told::object(&[
            ("columns", self.columns.into()),
            ("rows", self.rows.into()),
            ("truncated", truncated.into()),
        ])
    }
}

impl Sink for Table {
    fn columns(&mut self, names: &[&str]) {
        self.columns = names.iter().map(|&name| JsValue::from(name)).collect();
    }

    fn row(&mut self) {
        self.row = Array::new();
        self.rows.push(&self.row);
    }

    fn value(&mut self, value: ValueRef<'_>) {
        self.row.push(&match value {
            ValueRef::Null => JsValue::NULL,
            ValueRef::Integer(value) if (-MAX_SAFE..=MAX_SAFE).contains(&value) => {
                JsValue::from(value as f64)
            }
            ValueRef::Integer(value) => BigInt::from(value).into(),
            ValueRef::Real(value) => JsValue::from(value),
            ValueRef::Text(text) => JsValue::from(&*String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => Uint8Array::from(bytes).into(),
        });
    }
}

/// Parameters from an array, an object, or nothing.
pub(super) fn parameters(given: &JsValue) -> Result<Parameters, Error> {
    if given.is_undefined() || given.is_null() {
        Ok(Parameters::Positional(Vec::new()))
    } else if let Some(values) = given.dyn_ref::<Array>() {
        let values = (1..).zip(values.iter());
        let values = values.map(|(index, given)| value(&given, &format!("parameter {index}")));
        values.collect::<Result<_, _>>().map(Parameters::Positional)
    } else if given.is_object() {
        let entries = Object::entries(given.unchecked_ref());
        let values = entries.iter().map(|entry| {
            let entry: Array = entry.unchecked_into();
            let name = entry.get(0).as_string().unwrap_or_default();
            let value = value(&entry.get(1), &format!("the parameter {name}"))?;
            Ok((name, value))
        });
        values.collect::<Result<_, Error>>().map(Parameters::Named)
    } else {
        Err(Error::Invalid(
            "the parameters must be an array, or an object with their names".to_owned(),
        ))
    }
}

fn value(given: &JsValue, what: &str) -> Result<Value, Error> {
    if given.is_null() {
        Ok(Value::Null)
    } else if let Some(boolean) = given.as_bool() {
        Ok(Value::Integer(boolean.into()))
    } else if let Some(number) = given.as_f64() {
        // A minus zero is no integer.
        let integer = Number::is_safe_integer(given) && !(number == 0.0 && number.is_sign_negative());
        Ok(if integer {
            Value::Integer(number as i64)
        } else {
            Value::Real(number)
        })
    } else if let Some(text) = given.as_string() {
        Ok(Value::Text(text))
    } else if given.is_bigint() {
        let integer = i64::try_from(given.clone()).map(Value::Integer);
        integer.map_err(|_| {
            Error::Invalid(format!(
                "{what} does not fit into the 64 bits of an SQLite integer"
            ))
        })
    } else if given.is_instance_of::<ArrayBuffer>() {
        Ok(Value::Blob(Uint8Array::new(given).to_vec()))
    } else if ArrayBuffer::is_view(given) {
        let view: &Uint8Array = given.unchecked_ref();
        let bytes = Uint8Array::new_with_byte_offset_and_length(
            &view.buffer(),
            view.byte_offset(),
            view.byte_length(),
        );
        Ok(Value::Blob(bytes.to_vec()))
    } else {
        let kind = given.js_typeof().as_string().unwrap_or_default();
        Err(Error::Invalid(format!(
            "{what} is of type {kind}: SQLite knows null, numbers, bigints, strings, booleans, and Uint8Array or \
             ArrayBuffer for blobs"
        )))
    }
}
