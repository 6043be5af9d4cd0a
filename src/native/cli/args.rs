//! What the command line takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

use super::completions::Completions;
use super::doctor::Doctor;
use super::failure::EXIT_CODES;
use super::reset::Reset;
use super::status::Status;
use super::token::Token;
use super::values;
use super::version::Version;
use crate::ltx::Codec;
use crate::native::metrics::Address;

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
    Restore(super::restore::Restore),
    Verify(super::verify::Verify),
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

/// Follow live databases and ship what they commit
///
/// One database and where it goes, or all that a configuration file names. A database stays as it is: no table, no
/// row, no setting is left in it, and its writers never wait. What is not shipped yet stays in its WAL; a destination
/// that is down is tried again until it answers. Ctrl-C or SIGTERM ships what is committed and ends; a second one ends
/// at once.
///
/// Without a database, the configuration is read from $WALFERRY_CONFIG, $LITESTREAM_CONFIG, /etc/walferry.yml or
/// /etc/litestream.yml. A database of it that fails is tried again; the others run on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry replicate -config /etc/litestream.yml
  walferry replicate /srv/app.db s3://my-bucket/app file:///mnt/backup/app
  walferry replicate --codec lz4-frame /srv/app.db file:///mnt/backup/app    # for Litestream before 0.5.16
  WALFERRY_TOKEN=… walferry replicate /srv/app.db https://ferry.example.workers.dev/v1/app
  walferry replicate -exec 'myapp --port 80' -restore-if-db-not-exists -config app.yml
  walferry replicate --once /srv/app.db file:///mnt/backup/app               # from cron")]
pub(super) struct Replicate {
    /// The database file, in WAL mode
    #[arg(value_name = "DB", requires = "replicas")]
    pub(super) database: Option<PathBuf>,

    /// Its replicas: s3://bucket/path, gs://…, abs://…, file:///path, or https://host/v1/name with its token in
    /// WALFERRY_TOKEN
    #[arg(value_name = "URL")]
    pub(super) replicas: Vec<String>,

    #[command(flatten)]
    pub(super) config: ConfigFile,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    pub(super) insecure: bool,

    /// Start this application when its databases are followed, pass it our signals, and end with it, with its exit
    /// code. A second signal does not wait until everything is shipped
    #[arg(long, value_name = "CMD")]
    pub(super) exec: Option<String>,

    /// Restore a database that is not there before it is followed, if a replica has it
    #[arg(long)]
    pub(super) restore_if_db_not_exists: bool,

    /// Go on where someone else has moved a replica, or owns it
    #[arg(long)]
    pub(super) takeover: bool,

    /// Under load, ship once in this time; the first write after a pause ships at once [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::interval, requires = "database")]
    pub(super) sync_interval: Option<Duration>,

    /// How pages are packed: lz4 (default for folders and buckets; Litestream 0.5.16 and later restore it), lz4-frame
    /// (Litestream 0.5.0 to 0.5.15 too), deflate (default for Workers: a quarter fewer bytes, walferry only), stored
    #[arg(long, value_name = "CODEC", requires = "database")]
    pub(super) codec: Option<Codec>,

    /// Switch the database to WAL mode if it is not
    #[arg(long, requires = "database")]
    pub(super) set_wal: bool,

    /// When the WAL is longer, take the write lock for the moment it needs to start again [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size, requires = "database")]
    pub(super) wal_limit: Option<u64>,

    /// Tell metrics (/metrics) and health (/health) at this address: `:9090`, or `9090` for this machine only
    #[arg(long, value_name = "ADDRESS")]
    pub(super) addr: Option<Address>,

    /// Take commands (walferry sync) at this socket
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    /// Ship what is committed now, then end; a destination that stays away for 15 s is a failure
    #[arg(long)]
    pub(super) once: bool,
}

/// Which configuration file.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Take the values in it as they are: $NAME stands for nothing else
    #[arg(long)]
    pub(super) no_expand_env: bool,
}

/// List the databases of a configuration, and where they go
#[derive(Debug, Args)]
pub(super) struct Databases {
    #[command(flatten)]
    pub(super) config: ConfigFile,

    /// Print them, or the error, as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Ship what a database has committed, now
///
/// Asks the walferry that replicates it, at its control socket (`socket: {enabled: true}` in its configuration, or
/// replicate --socket).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry sync -wait /srv/app.db
  walferry sync -wait -timeout 5s -socket /run/walferry.sock -json /srv/app.db")]
pub(super) struct Sync {
    /// The database
    #[arg(value_name = "DB")]
    pub(super) database: PathBuf,

    /// Return when every replica has confirmed it
    #[arg(long)]
    pub(super) wait: bool,

    /// Wait no longer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::interval)]
    pub(super) timeout: Duration,

    /// The control socket (default: the configuration's, or /var/run/walferry.sock)
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    #[command(flatten)]
    pub(super) config: ConfigFile,

    /// Print the answer, or the error, as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Copy a replica to another destination, or to another codec
///
/// Every segment is proven on its way and packed anew only where the codec differs. What is there already is passed over:
/// a copy that was broken off goes on with the same command. A Worker gets what leads to the newest state; other
/// destinations get all levels and the history. One token and one set of keys serve both sides, unless an s3:// URL names
/// a profile of ~/.aws/credentials: ?profile=NAME.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry copy s3://backups/app.db file:///mnt/backup/app
  walferry copy --codec lz4 https://ferry.example.workers.dev/v1/app file:///mnt/for-litestream
  walferry copy s3://old/app.db 's3://new/app.db?endpoint=https://ID.r2.cloudflarestorage.com&profile=r2'")]
pub(super) struct Copy {
    /// The replica to copy
    #[arg(value_name = "SRC")]
    pub(super) source: String,

    /// Where to: an empty place, or one that an earlier copy was made to
    #[arg(value_name = "DST")]
    pub(super) target: String,

    /// How pages are packed: lz4, lz4-frame, deflate, stored; as they are where it is not said
    #[arg(long, value_name = "CODEC")]
    pub(super) codec: Option<Codec>,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    pub(super) insecure: bool,

    /// Print the result, or the error, as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// List the segments of a replica
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry ltx s3://backups/app.db
  walferry ltx -level 9 file:///mnt/backup/app
  walferry ltx --json https://ferry.example.workers.dev/v1/app")]
pub(super) struct Ltx {
    #[command(flatten)]
    pub(super) replica: Replica,

    /// Print them, or the error, as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Of this level only: 0 to 9, or all
    #[arg(long, value_name = "LEVEL", default_value = "all", value_parser = values::levels)]
    pub(super) level: values::Levels,
}

#[derive(Debug, Args)]
pub(super) struct Replica {
    /// The replica: s3://bucket/path, gs://bucket/path, abs://account@container/path, file:///path, or
    /// https://host/v1/name with its token in WALFERRY_TOKEN
    #[arg(value_name = "URL")]
    pub(super) url: String,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    pub(super) insecure: bool,
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
