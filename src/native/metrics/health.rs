//! `/health`: whether every database is where it should be, and if not, why.

use std::time::Duration;

use serde::Serialize;

use crate::ltx::Timestamp;
use crate::native::status::DatabaseStatus;

/// How far behind a replica may be unless the question says otherwise (`/health?max-lag=5s`).
pub(super) const MAX_LAG: Duration = Duration::from_secs(60);

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    databases: usize,
    reasons: Vec<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    db: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
    reason: String,
}

impl Health {
    pub(super) fn of<'a>(
        databases: impl Iterator<Item = &'a DatabaseStatus>,
        max_lag: Duration,
        now: Timestamp,
    ) -> Self {
        let mut reasons = Vec::new();
        let mut count = 0_usize;
        for database in databases {
            count = count.saturating_add(1);
            let db = || database.path.display().to_string();
            reasons.extend(database.failure.borrow().clone().map(|reason| Reason {
                db: db(),
                replica: None,
                reason,
            }));
            for replica in &database.replicas {
                let lag = replica.lag(now);
                if lag <= max_lag {
                    continue;
                }
                let mut reason = format!("it is {} s behind", lag.as_secs());
                if let Some(failure) = &*replica.failure.borrow() {
                    reason = format!("{reason}: {failure}");
                }
                reasons.push(Reason {
                    db: db(),
                    replica: Some(replica.name.clone()),
                    reason,
                });
            }
        }
        Self {
            status: if reasons.is_empty() { "ok" } else { "failing" },
            databases: count,
            reasons,
        }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.reasons.is_empty()
    }

    /// What is not well, in a line.
    pub(super) fn reasons(&self) -> Option<String> {
        let told = self
            .reasons
            .iter()
            .map(|Reason { db, replica, reason }| match replica {
                Some(replica) => format!("{db}, {replica}: {reason}"),
                None => format!("{db}: {reason}"),
            });
        (!self.is_ok()).then(|| told.collect::<Vec<_>>().join("; "))
    }
}
