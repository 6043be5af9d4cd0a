//! What is said over the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ltx::Txid;
use crate::native::replicate::Synced;

/// What `POST /sync` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncQuestion {
    /// The database.
    pub path: PathBuf,
    /// Answer when every replica has confirmed what is committed now.
    #[serde(default)]
    pub wait: bool,
    /// For so many seconds at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// `synced`: every replica has it; `requested`: it was not waited for.
    pub status: String,
    /// The database.
    pub path: PathBuf,
    /// The replicas.
    pub replicas: Vec<ReplicaAnswer>,
}

/// Where a replica stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplicaAnswer {
    /// Its URL.
    pub replica: String,
    /// Its transaction.
    pub txid: Option<Txid>,
    /// Why it does not get on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What `POST /register` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterQuestion {
    /// The database.
    pub path: PathBuf,
    /// Where it goes.
    #[serde(default)]
    pub replica_url: Option<String>,
}

/// What `POST /start`, `/stop` and `/unregister` take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetGoQuestion {
    /// The database.
    pub path: PathBuf,
    /// Wait for so many seconds at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// What those four answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LetGoAnswer {
    /// `registered`, `unregistered`, `started`, `stopped`; `already_registered`, `already_running` and so on where
    /// nothing had to be done.
    pub status: String,
    /// The database.
    pub path: PathBuf,
    /// The least that its replicas have confirmed; 0 for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txid: Option<u64>,
}

/// What `GET /txid` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TxidAnswer {
    pub(super) txid: u64,
}

/// A database in `GET /list`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatabaseAnswer {
    /// The database.
    pub path: PathBuf,
    /// `replicating`, `failing`, or `stopped`.
    pub status: String,
    /// Why it cannot be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its replicas.
    pub replicas: Vec<ReplicaAnswer>,
}

/// What `GET /info` answers: who listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InfoAnswer {
    /// Of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// For how long it has taken commands.
    pub uptime_seconds: f64,
    /// How many databases it replicates.
    pub databases: usize,
}

/// Why something is not done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}

impl From<Synced> for ReplicaAnswer {
    fn from(synced: Synced) -> Self {
        Self {
            replica: synced.replica,
            txid: Some(synced.position.txid),
            failure: None,
        }
    }
}
