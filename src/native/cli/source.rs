//! Which replica a command reads: one that a URL names, or one of a database that the configuration names.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use futures_util::future::join_all;

use super::failure::{Class, Failure};
use crate::native::config::{self, Config};
use crate::native::restore::{Reach, reach};
use crate::native::store::{Access, Counted, Destination, Live, Patient};
use crate::replica::Target;

/// A replica to read from.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// The replica (file:///path, s3://bucket/path, gs://…, abs://…, https://host/v1/name), or a database of the
    /// configuration
    #[arg(value_name = "URL|DB")]
    replica: String,

    /// The configuration that names the database's replicas (default: /etc/walferry.yml or /etc/litestream.yml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Leave $VARIABLES in the configuration as they are
    #[arg(long)]
    no_expand_env: bool,

    /// Allow plain http:// to other machines: token and data travel unencrypted
    #[arg(long)]
    insecure: bool,
}

/// A replica that was chosen.
pub(super) struct Chosen {
    pub(super) destination: Destination,
    pub(super) store: Rc<Counted>,
    /// What it tells as it happens, if it does.
    pub(super) live: Option<Live>,
}

impl Chosen {
    fn open(destination: Destination, access: &Access) -> Result<Self, Failure> {
        Ok(Self {
            store: destination.open(access)?,
            live: destination.live(access)?,
            destination,
        })
    }
}

impl Source {
    /// The database that it names, if it names none by a URL.
    pub(super) fn database(&self) -> Option<&Path> {
        (!self.replica.contains("://")).then(|| Path::new(&self.replica))
    }

    /// The replica; of several the one that leads furthest toward the target.
    pub(super) async fn choose(&self, target: Target) -> Result<Chosen, Failure> {
        let Some(database) = self.database() else {
            let destination = Destination::parse(&self.replica, self.insecure)?;
            return Chosen::open(destination, &Access::from_environment());
        };
        let mut replicas = self.replicas(database)?;
        if replicas.len() == 1
            && let Some(only) = replicas.pop()
        {
            return Ok(only);
        }
        let (mut best, mut empty, mut failure) = (None::<(Reach, Chosen)>, None, None);
        let found = join_all(replicas.iter().map(async |replica| {
            let store = Patient::new(replica.store.clone());
            reach(&replica.destination, &store, target).await
        }));
        for (found, replica) in found.await.into_iter().zip(replicas) {
            match found {
                Ok(None) => empty = empty.or(Some(replica)),
                Ok(Some(reach)) => {
                    if best.as_ref().is_none_or(|(furthest, _)| *furthest < reach) {
                        best = Some((reach, replica));
                    }
                }
                Err(error) => {
                    let error = Failure::from(error).while_doing(&replica.destination);
                    tracing::warn!("{}: passed over", error.message);
                    failure = failure.or(Some(error));
                }
            }
        }
        match (best, failure, empty) {
            (Some((_, chosen)), _, _) => Ok(chosen),
            // What cannot be looked at may hold something.
            (None, Some(failure), _) => Err(failure),
            (None, None, Some(empty)) => Ok(empty),
            (None, None, None) => Err(Failure::new(
                Class::Usage,
                format!("{} has no replica", database.display()),
            )),
        }
    }

    fn replicas(&self, database: &Path) -> Result<Vec<Chosen>, Failure> {
        let invalid = |message: String| Failure::new(Class::Usage, message);
        let config = match Config::load(self.config.as_deref(), !self.no_expand_env) {
            // Then a URL was meant.
            Err(config::Error::Missing(_)) => {
                Destination::parse(&self.replica, self.insecure)?;
                return Ok(Vec::new());
            }
            config => config.map_err(|error| invalid(error.to_string()))?,
        };
        let absolute = std::path::absolute(database).unwrap_or_else(|_| database.to_owned());
        let single = config
            .databases
            .iter()
            .find(|known| known.path == absolute || known.path == database);
        let replicas = match single {
            Some(database) => database.replicas.clone(),
            None => {
                let folder = config
                    .folders
                    .iter()
                    .find(|folder| absolute.starts_with(&folder.path));
                let folder = folder.ok_or_else(|| {
                    invalid(format!(
                        "{} has no database {}: name one that it has, or give the replica's URL",
                        config.file.display(),
                        database.display(),
                    ))
                })?;
                folder.database(&absolute).map_err(invalid)?.replicas
            }
        };
        let replicas = replicas.into_iter();
        replicas
            .map(|replica| Chosen::open(replica.destination, &replica.access))
            .collect()
    }
}
