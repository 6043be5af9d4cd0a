//! The control socket of a walferry that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use super::config_file::ConfigFile;
use super::failure::{Class, Failure};
use super::{output, values};
use crate::native::config::DEFAULT_SOCKET;
use crate::native::fleet::control::AskError;

/// Which socket.
#[derive(Debug, Args)]
pub(super) struct ControlSocket {
    /// The control socket (default: the configuration's, or /var/run/walferry.sock)
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigFile,
}

impl ControlSocket {
    /// The one that is named, the configuration's if there is one, or the usual.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let socket = match self.config.load() {
            Ok(config) => config.socket.map(|socket| socket.path),
            Err(failure) if self.config.config.is_some() => return Err(failure),
            Err(_) => None,
        };
        Ok(socket.unwrap_or_else(|| DEFAULT_SOCKET.into()))
    }
}

/// The database that is meant, in the words of who runs there.
pub(super) fn absolute(database: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(database)
        .map_err(|error| Failure::new(Class::Usage, format!("{}: {error}", database.display())))
}

/// A question there, and how its answer is told.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// Wait no longer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::wait)]
    timeout: Duration,

    #[command(flatten)]
    socket: ControlSocket,

    /// Print the answer, or the error, as JSON
    #[arg(long)]
    json: bool,
}

impl Question {
    /// Asks in time, and prints the answer, as `text` puts it if it is not to be JSON.
    pub(super) async fn answer<T: Serialize>(
        &self,
        ask: impl AsyncFnOnce(&Path) -> Result<T, AskError>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let socket = self.socket.path()?;
        let late = |_| {
            let (socket, seconds) = (socket.display(), self.timeout.as_secs_f64());
            Failure::new(
                Class::Unreachable,
                format!("no answer at {socket} within {seconds} s"),
            )
        };
        let answer = timeout(self.timeout, ask(&socket)).await.map_err(late)??;
        match self.json {
            true => output::json(&answer),
            false => output::text(&text(&answer)),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::new(Class::Unreachable, error.to_string())
    }
}
