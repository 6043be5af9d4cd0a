//! What the command line takes: the commands, and what several of them do. What one takes is in its file.

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

use super::completions::Completions;
use super::copy::Copy;
use super::databases::Databases;
use super::doctor::Doctor;
use super::failure::EXIT_CODES;
use super::info::Info;
use super::list::List;
use super::live::{Register, Start, Stop, Unregister};
use super::ltx::Ltx;
use super::replicate::Replicate;
use super::reset::Reset;
use super::restore::Restore;
use super::status::Status;
use super::sync::Sync;
use super::token::Token;
use super::verify::Verify;
use super::version::Version;

const EXAMPLES: &str = "\
Examples:
  walferry replicate /srv/app.db file:///mnt/backup/app
  WALFERRY_TOKEN=… walferry replicate /srv/app.db https://ferry.example.workers.dev/v1/app
  walferry restore -o copy.db file:///mnt/backup/app
  walferry restore -o before.db -timestamp '30m ago' https://ferry.example.workers.dev/v1/app

Options can be written with one dash too, as Litestream's are: -timestamp, -json.";

/// Ships the write-ahead log of live SQLite databases, and the database to wherever it is read.
#[derive(Debug, Parser)]
#[command(
    name = "walferry",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,

    /// What to tell on stderr (default: info)
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub(super) log_level: Option<LogLevel>,

    /// How to tell it (default: pretty on a terminal, text elsewhere)
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Replicate(Replicate),
    Databases(Databases),
    Sync(Sync),
    List(List),
    Info(Info),
    Register(Register),
    Unregister(Unregister),
    Stop(Stop),
    Start(Start),
    Restore(Restore),
    Verify(Verify),
    Ltx(Ltx),
    Status(Status),
    Copy(Copy),
    Doctor(Doctor),
    Reset(Reset),
    Completions(Completions),
    /// Print the man page
    Man,
    Token(Token),
    Version(Version),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub(super) fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// key=value, as Litestream writes
    Text,
    /// An object a line
    Json,
    /// For a terminal
    Pretty,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn is_consistent() {
        Arguments::command().debug_assert();
    }
}
