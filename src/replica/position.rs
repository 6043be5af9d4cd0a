//! Where a replica stands.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json::{FromJson, Json};
use crate::ltx::{DbSum, Txid};

/// A state of a database: its newest transaction, and the sum of its pages where it is known.
///
/// Files of Litestream carry no sum: a replica that ends in one has a position without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The newest transaction, [`Txid::ZERO`] in an empty replica.
    pub txid: Txid,
    /// The database sum after it.
    pub sum: Option<DbSum>,
}

impl Position {
    /// The position of an empty replica.
    pub const EMPTY: Self = Self {
        txid: Txid::ZERO,
        sum: Some(DbSum::EMPTY),
    };
}

impl FromJson for Position {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            txid: json.get("txid")?,
            sum: json.get("sum")?,
        })
    }
}

/// `<txid>/<sum>`, the sum a dash where it is unknown.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sum {
            Some(sum) => write!(f, "{}/{sum}", self.txid),
            None => write!(f, "{}/-", self.txid),
        }
    }
}
