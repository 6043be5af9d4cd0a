//! `walferry replicate`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::{TryStreamExt, stream};

use super::config_file::ConfigFile;
use super::failure::{Class, Failure};
use super::signals::Signals;
use super::{exec, logging, values};
use crate::ltx::Codec;
use crate::native::config::{Config, Database, Defaults, Folder, Replica, Socket};
use crate::native::fleet::control::Control;
use crate::native::fleet::{Fleet, Lost, Wishes, restore_missing};
use crate::native::metrics::{self, Address, Heartbeat, Pulse};
use crate::native::replicate::Environment;
use crate::native::store::Destination;

/// How many databases are restored at a time: each reads in parallel and decodes on all cores by itself.
const RESTORES: usize = 4;

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
    database: Option<PathBuf>,

    /// Its replicas: s3://bucket/path, gs://…, abs://…, file:///path, or https://host/v1/name with its token in
    /// WALFERRY_TOKEN
    #[arg(value_name = "URL")]
    replicas: Vec<String>,

    #[command(flatten)]
    config: ConfigFile,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    insecure: bool,

    /// Start this application when its databases are followed, pass it our signals, and end with it, with its exit
    /// code. A second signal does not wait until everything is shipped
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Restore a database that is not there before it is followed, if a replica has it
    #[arg(long)]
    restore_if_db_not_exists: bool,

    /// Go on where someone else has moved a replica, or owns it
    #[arg(long)]
    takeover: bool,

    /// Under load, ship once in this time on the whole; the first write after a pause ships at once [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::interval, requires = "database")]
    sync_interval: Option<Duration>,

    /// How pages are packed: lz4 (default for folders and buckets; Litestream 0.5.16 and later restore it), lz4-frame
    /// (Litestream 0.5.0 to 0.5.15 too), deflate (default for Workers: a quarter fewer bytes, walferry only), stored
    #[arg(long, value_name = "CODEC", requires = "database")]
    codec: Option<Codec>,

    /// Switch the database to WAL mode if it is not
    #[arg(long, requires = "database")]
    set_wal: bool,

    /// Keep the WAL shorter than this, at the price of a wait for writers that are faster than the disk [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size, requires = "database")]
    wal_limit: Option<u64>,

    /// Tell metrics (/metrics) and health (/health) at this address: `:9090`, or `9090` for this machine only
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<Address>,

    /// Take commands (walferry sync, list, stop, register) at this socket
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Ship what is committed now, then end; a destination that stays away for 15 s is a failure
    #[arg(long)]
    once: bool,
}

/// What is to be done, from arguments or a configuration.
struct Task {
    databases: Vec<Database>,
    folders: Vec<Folder>,
    addr: Option<Address>,
    heartbeat: Option<Pulse>,
    socket: Option<Socket>,
    defaults: Defaults,
    exec: Option<Vec<String>>,
    /// A database that fails is the end of it.
    strict: bool,
    shutdown_timeout: Duration,
}

pub(super) async fn run(arguments: Replicate, signals: Signals) -> Result<(), Failure> {
    let task = match &arguments.database {
        Some(_) => Task::of_arguments(&arguments)?,
        None => Task::of_config(arguments.config.load()?, &arguments)?,
    };
    if arguments.once && task.exec.is_some() {
        return Err(Failure::new(
            Class::Usage,
            "-once ships and ends, -exec runs with an application: choose one",
        ));
    }
    let environment = Environment::system();
    let clock = environment.clock.clone();
    let wishes = Wishes {
        once: arguments.once,
        takeover: arguments.takeover,
        strict: task.strict || arguments.once,
        shutdown_timeout: task.shutdown_timeout,
    };
    let fleet = Fleet::new(environment, wishes);
    let _metrics = match &task.addr {
        Some(address) => Some(
            metrics::serve(address, fleet.databases(), clock.clone())
                .await
                .map_err(|error| {
                    Failure::new(Class::Unexpected, format!("cannot listen at {address}: {error}"))
                })?,
        ),
        None => None,
    };
    let pulse = task.heartbeat.filter(|_| !arguments.once);
    let _heartbeat = pulse
        .map(|pulse| Heartbeat::start(pulse, fleet.databases(), clock))
        .transpose()
        .map_err(|error| Failure::new(Class::Unexpected, format!("no heartbeat can be sent: {error}")))?;
    let _control = match &task.socket {
        Some(socket) => Some(
            Control::listen(socket, fleet.clone(), task.defaults.clone()).map_err(|error| {
                let path = socket.path.display();
                Failure::new(
                    Class::Unexpected,
                    format!("cannot take commands at {path}: {error}"),
                )
            })?,
        ),
        None => None,
    };
    let child = signals.child();
    let mut signaled = std::pin::pin!(signals.first());
    let missing = task
        .databases
        .iter()
        .filter(|database| arguments.restore_if_db_not_exists || database.treatment.restore_if_missing);
    let restored = stream::iter(missing.map(Ok)).try_for_each_concurrent(RESTORES, async |database| {
        let what = format!("cannot restore {}", database.path.display());
        let restored = restore_missing(database).await;
        restored.map_err(|error| Failure::from(error).while_doing(what))
    });
    tokio::select! {
        restored = restored => restored?,
        signal = &mut signaled => {
            return Err(Failure::new(Class::Interrupted(signal), "broken off while restoring"));
        }
    }
    let mut ended = None;
    let shutdown = async {
        match &task.exec {
            Some(words) => {
                // After the databases have been opened.
                tokio::task::yield_now().await;
                ended = Some(exec::run(words, &child).await);
            }
            None => {
                signaled.await;
            }
        }
    };
    let is_one = task.strict && task.databases.len() == 1;
    let lost = fleet.run(task.databases, task.folders, shutdown).await;
    if let Some(ended) = ended {
        let outcome = exec::outcome(ended?);
        if outcome.is_err() {
            for lost in &lost {
                tracing::error!(db = %lost.database.display(), "{}", lost.error);
            }
            return outcome;
        }
    }
    all(lost, is_one)
}

/// One failure of all; its class is that of the first.
fn all(lost: Vec<Lost>, is_one: bool) -> Result<(), Failure> {
    let mut failure: Option<Failure> = None;
    for Lost { database, error } in lost {
        let mut next = Failure::from(error);
        if !is_one {
            next = next.while_doing(database.display());
        }
        match &mut failure {
            Some(failure) => failure.message = format!("{}\n{}", failure.message, next.message),
            None => failure = Some(next),
        }
    }
    failure.map_or(Ok(()), Err)
}

impl Task {
    fn of_arguments(arguments: &Replicate) -> Result<Self, Failure> {
        let usage = |message: &str| Err(Failure::new(Class::Usage, message));
        if arguments.config.config.is_some() {
            return usage("name a database and its replicas, or a configuration, not both");
        }
        let mut replicas: Vec<Replica> = Vec::new();
        for url in &arguments.replicas {
            let destination = Destination::parse(url, arguments.insecure)?;
            for replica in &replicas {
                let other = &replica.destination;
                if other.same_place(&destination) {
                    return usage(&format!(
                        "{destination} is there twice: give every replica a place of its own"
                    ));
                }
                if other.contains(&destination) || destination.contains(other) {
                    return usage(&format!(
                        "of {other} and {destination} one lies within the other: give each a place of its own"
                    ));
                }
            }
            let mut replica = Replica::new(destination);
            replica.codec = arguments.codec.unwrap_or(replica.codec);
            replica.sync_interval = arguments.sync_interval.unwrap_or(replica.sync_interval);
            replicas.push(replica);
        }
        let mut database = Database::new(arguments.database.clone().unwrap_or_default(), replicas);
        database.path = database.path.canonicalize().unwrap_or(database.path);
        database.treatment.set_wal = arguments.set_wal;
        database.treatment.wal_limit = arguments.wal_limit;
        Ok(Self {
            databases: vec![database],
            folders: Vec::new(),
            addr: arguments.addr.clone(),
            heartbeat: None,
            socket: socket(arguments),
            defaults: Defaults::default(),
            exec: arguments.exec.as_deref().map(words).transpose()?,
            // An application runs on, and has its database followed as soon as that can be.
            strict: arguments.exec.is_none(),
            shutdown_timeout: Duration::from_secs(30),
        })
    }

    fn of_config(config: Config, arguments: &Replicate) -> Result<Self, Failure> {
        let logging = config.logging;
        logging::configure(logging.level, logging.json, logging.stdout);
        for warning in &config.warnings {
            tracing::warn!("{}:{warning}", config.file.display());
        }
        let may_come = socket(arguments).is_some() || config.socket.is_some();
        if config.databases.is_empty() && config.folders.is_empty() && (arguments.once || !may_come) {
            let file = config.file.display();
            return Err(Failure::new(
                Class::Usage,
                format!("{file}: there is nothing to replicate: dbs is empty"),
            ));
        }
        let exec = match &arguments.exec {
            Some(command) => Some(words(command)?),
            None => config.exec,
        };
        Ok(Self {
            databases: config.databases,
            folders: config.folders,
            addr: arguments.addr.clone().or(config.addr),
            heartbeat: config.heartbeat,
            socket: socket(arguments).or(config.socket),
            defaults: config.defaults,
            exec,
            strict: false,
            shutdown_timeout: config.shutdown_timeout,
        })
    }
}

fn socket(arguments: &Replicate) -> Option<Socket> {
    arguments.socket.clone().map(|path| Socket {
        path,
        permissions: 0o600,
    })
}

fn words(command: &str) -> Result<Vec<String>, Failure> {
    shell_words::split(command)
        .map_err(|_| Failure::new(Class::Usage, format!("a quote is not closed in {command:?}")))
}
