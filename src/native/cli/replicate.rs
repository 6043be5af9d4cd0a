//! `walferry replicate`

use std::time::Duration;

use super::args::Replicate;
use super::failure::{Class, Failure};
use super::signals::Signals;
use super::{exec, logging};
use crate::native::config::{Config, Database, Folder, Replica, Socket};
use crate::native::fleet::control::Control;
use crate::native::fleet::{Fleet, Lost, Wishes, restore_missing};
use crate::native::metrics::{self, Address, Heartbeat, Pulse};
use crate::native::replicate::Environment;
use crate::native::store::Destination;

/// What is to be done, from arguments or a configuration.
struct Task {
    databases: Vec<Database>,
    folders: Vec<Folder>,
    addr: Option<Address>,
    heartbeat: Option<Pulse>,
    socket: Option<Socket>,
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
        Some(socket) => Some(Control::listen(socket, fleet.clone()).map_err(|error| {
            let path = socket.path.display();
            Failure::new(
                Class::Unexpected,
                format!("cannot take commands at {path}: {error}"),
            )
        })?),
        None => None,
    };
    let child = signals.child();
    let mut signaled = std::pin::pin!(signals.first());
    for database in &task.databases {
        if arguments.restore_if_db_not_exists || database.treatment.restore_if_missing {
            let what = format!("cannot restore {}", database.path.display());
            tokio::select! {
                restored = restore_missing(database) => {
                    restored.map_err(|error| Failure::from(error).while_doing(what))?;
                }
                signal = &mut signaled => {
                    return Err(Failure::new(Class::Interrupted(signal), "broken off while restoring"));
                }
            }
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
        if config.databases.is_empty() && config.folders.is_empty() {
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
