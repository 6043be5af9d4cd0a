//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines are at least so far apart.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// On stderr.
pub(super) struct Progress {
    kind: Kind,
}

enum Kind {
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Progress {
    pub(super) fn new() -> Self {
        let kind = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(
                "{bar:32} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            );
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            Kind::Bar(bar)
        } else {
            Kind::Lines {
                next: Instant::now() + LINE_PAUSE,
            }
        };
        Self { kind }
    }

    /// `done` of `total` bytes are there.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        match &mut self.kind {
            Kind::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done.min(total));
            }
            Kind::Lines { next } if Instant::now() >= *next => {
                *next = Instant::now() + LINE_PAUSE;
                let percent = done
                    .saturating_mul(100)
                    .checked_div(total)
                    .unwrap_or(100)
                    .min(100);
                let (done, total) = (ByteSize(done), ByteSize(total));
                let _ = writeln!(std::io::stderr(), "{percent:3} % fetched: {done} of {total}");
            }
            Kind::Lines { .. } => {}
        }
    }
}

/// The bar goes when the work is over, however it ended.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}
