//! The two numbers that tell one generation of a WAL from the next.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json::{FromJson, Json};

/// The salts of a WAL: in its header and in each of its frames. A restart adds one to the first and draws the
/// second anew, so that frames left behind by the generation before do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salts(pub [u32; 2]);

impl Salts {
    /// Reads the eight bytes, big-endian in the WAL and in its index alike.
    pub(super) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self([u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])])
    }
}

impl FromJson for Salts {
    fn from_json(json: Json<'_>) -> Option<Self> {
        FromJson::from_json(json).map(Self)
    }
}

impl fmt::Display for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([first, second]) = self;
        write!(f, "{first:08x}-{second:08x}")
    }
}
