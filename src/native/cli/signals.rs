//! Ctrl-C and SIGTERM: the first asks, the second ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal as Number, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The signals of this process.
pub(super) struct Signals {
    first: oneshot::Receiver<i32>,
    child: Child,
}

/// A process that gets our signals too; none at first.
#[derive(Clone, Debug, Default)]
pub(super) struct Child(Arc<AtomicI32>);

impl Child {
    /// From now on. To be undone before it is waited for: its id may be another's then.
    pub(super) fn is(&self, pid: Option<u32>) {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        self.0.store(pid, Ordering::SeqCst);
    }

    fn signal(&self, number: i32) {
        let signal = if number == SignalKind::interrupt().as_raw_value() {
            Number::INT
        } else {
            Number::TERM
        };
        if let Some(pid) = Pid::from_raw(self.0.load(Ordering::SeqCst)) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Signals {
    /// Listens on a thread of its own, so that a second signal is heard whatever the others do.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let mut kinds = {
            let _inside = runtime.enter();
            [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| (kind.as_raw_value(), signal(kind)))
        }
        .into_iter()
        .map(|(number, listening)| listening.map(|listening| (number, listening)))
        .collect::<io::Result<Vec<_>>>()?;
        let (sender, first) = oneshot::channel();
        let child = Child::default();
        let forward = child.clone();
        let wait = async move {
            let number = next(&mut kinds).await;
            tracing::info!("ending; a second signal ends at once");
            forward.signal(number);
            let _ = sender.send(number);
            let number = next(&mut kinds).await;
            forward.signal(number);
            std::process::exit(number.saturating_add(128));
        };
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(256 * 1024);
        thread.spawn(move || runtime.block_on(wait))?;
        Ok(Self { first, child })
    }

    /// Who gets them too.
    pub(super) fn child(&self) -> Child {
        self.child.clone()
    }

    /// The number of the first signal.
    pub(super) async fn first(self) -> i32 {
        match self.first.await {
            Ok(number) => number,
            // The thread never ends before this process does.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn next(signals: &mut [(i32, Signal)]) -> i32 {
    let each = signals.iter_mut().map(|(number, signal)| {
        Box::pin(async move {
            match signal.recv().await {
                Some(()) => *number,
                None => std::future::pending().await,
            }
        })
    });
    futures_util::future::select_all(each).await.0
}
