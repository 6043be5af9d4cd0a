//! Ctrl-C and SIGTERM: the first asks, the second ends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The signals of this process.
pub(super) struct Signals {
    first: oneshot::Receiver<i32>,
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
        let wait = async move {
            let number = next(&mut kinds).await;
            tracing::info!("ending; a second signal ends at once");
            let _ = sender.send(number);
            let number = next(&mut kinds).await;
            std::process::exit(number.saturating_add(128));
        };
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(256 * 1024);
        thread.spawn(move || runtime.block_on(wait))?;
        Ok(Self { first })
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
