//! What Litestream's configuration has and ours does not act on: said, with the reason, never passed over.

/// A key that Litestream knows.
#[derive(Clone, Copy)]
pub(super) struct Foreign {
    pub(super) key: &'static str,
    pub(super) why: &'static str,
    /// Going on without it would not be what was asked for.
    pub(super) is_refused: bool,
}

const fn ignored(key: &'static str, why: &'static str) -> Foreign {
    Foreign {
        key,
        why,
        is_refused: false,
    }
}

const fn refused(key: &'static str, why: &'static str) -> Foreign {
    Foreign {
        key,
        why,
        is_refused: true,
    }
}

const AGE: &str = "walferry does not encrypt by age, and would write the database in plain: have the provider encrypt \
    it (sse-kms-key-id), or keep to a tool that does";
const TAKEOVER: &str = "taking a replica over is decided once: start walferry replicate --takeover";

/// Beside `dbs`.
pub(super) const GLOBAL: &[Foreign] = &[
    ignored(
        "l0-retention-check-interval",
        "walferry looks when there is something to delete",
    ),
    ignored("verify-compaction", "walferry proves every merge, always"),
    ignored(
        "validation",
        "verify-interval has walferry restore and check the whole database",
    ),
    ignored(
        "mcp-addr",
        "walferry has no MCP server; walferry help lists commands that print JSON",
    ),
    ignored(
        "shutdown-sync-interval",
        "failed uploads are tried again at growing intervals",
    ),
    refused("age", AGE),
    refused("takeover", TAKEOVER),
];

/// Of a database.
pub(super) const DATABASE: &[Foreign] = &[
    ignored("monitor-interval", "the system tells walferry of every write"),
    ignored(
        "checkpoint-interval",
        "walferry checkpoints as the WAL grows; an idle database is left alone",
    ),
    ignored("busy-timeout", "walferry never waits for a lock for long"),
    ignored("truncate-page-n", "wal-limit says how long the WAL may get"),
    ignored(
        "max-sync-wal-bytes",
        "a large transaction is shipped as one segment, in bounded memory",
    ),
    refused("age", AGE),
    refused("takeover", TAKEOVER),
];

/// Of a replica, and of what all replicas are given.
pub(super) const REPLICA: &[Foreign] = &[
    ignored(
        "validation-interval",
        "verify-interval has walferry restore and check the whole database",
    ),
    ignored(
        "retention-check-interval",
        "walferry looks when there is something to delete",
    ),
    ignored(
        "max-sync-ltx-files",
        "what was written while a replica was away goes into one segment",
    ),
    ignored(
        "auto-recover",
        "walferry compares pages and ships those that differ, always",
    ),
    ignored(
        "require-content-md5",
        "uploads are signed, and their length and checksums are compared",
    ),
    ignored("sse-customer-algorithm", "it is AES256, the only one there is"),
    ignored("generation", "walferry finds the newest state by itself"),
    refused("age", AGE),
    refused("takeover", TAKEOVER),
];

/// Of `logging`.
pub(super) const LOGGING: &[Foreign] = &[ignored(
    "source",
    "walferry's messages do not tell the place in its source",
)];
