//! Every database takes open files; the system limits their number.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files of a database: it and its WAL three times, its index, the lock of the local state, a page-sum table a
/// replica.
const EACH: u64 = 10;
/// And of the process: its logs, connections, sockets.
const OTHERS: u64 = 64;

/// Raises the limit as far as it goes if it does not suffice, and says if that is not far enough. It is left alone
/// otherwise: what this process starts inherits it.
pub(super) fn provide(databases: usize) {
    let needed = (databases as u64).saturating_mul(EACH).saturating_add(OTHERS);
    let too_few = |limit: &Rlimit| limit.current.filter(|current| *current < needed);
    let limit = getrlimit(Resource::Nofile);
    if too_few(&limit).is_none() {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    if let Some(current) = too_few(&getrlimit(Resource::Nofile)) {
        tracing::error!(
            "{databases} databases need about {needed} open files and this process may have {current}: some will not \
             be replicated; raise the limit, with LimitNOFILE={needed} in the systemd unit or ulimit -n {needed}"
        );
    }
}
