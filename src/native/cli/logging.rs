//! What happens is told: on stderr, unless the config says otherwise.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{LogFormat, LogLevel};
use super::log_lines::{Format, Lines};

/// What the config may still change, after the command line.
struct Running {
    lines: Lines,
    filter: reload::Handle<Targets, Registry>,
    level_is_said: bool,
    format_is_said: bool,
}

static RUNNING: OnceLock<Running> = OnceLock::new();

/// Starts, as the command line says, or `LOG_LEVEL`, which Litestream knows too.
pub(super) fn start(level: Option<LogLevel>, format: Option<LogFormat>) {
    let level = level.or_else(|| {
        let level = std::env::var("LOG_LEVEL").ok()?;
        // It may be meant for another program.
        LogLevel::from_str(&level, true).ok()
    });
    let lines = Lines::new(match format {
        Some(LogFormat::Json) => Format::Json,
        Some(LogFormat::Text) => Format::Text,
        Some(LogFormat::Pretty) => Format::Pretty,
        None if std::io::stderr().is_terminal() => Format::Pretty,
        None => Format::Text,
    });
    let (filter, handle) = reload::Layer::new(targets(level.unwrap_or(LogLevel::Info).filter()));
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.clone())
        .init();
    let _ = RUNNING.set(Running {
        lines,
        filter: handle,
        level_is_said: level.is_some(),
        format_is_said: format.is_some(),
    });
}

/// Goes on as the config says, where the command line said nothing.
pub(super) fn configure(level: Option<tracing::Level>, json: bool, stdout: bool) {
    let Some(running) = RUNNING.get() else { return };
    if let Some(level) = level.filter(|_| !running.level_is_said) {
        let level = LevelFilter::from_level(level);
        let _ = running.filter.modify(|filter| *filter = targets(level));
    }
    if json && !running.format_is_said {
        running.lines.set_format(Format::Json);
    }
    if stdout {
        running.lines.set_stdout();
    }
}

/// Of the libraries, only what is wrong; what they do is for who traces.
fn targets(level: LevelFilter) -> Targets {
    let others = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    Targets::new().with_default(others).with_target("walferry", level)
}
