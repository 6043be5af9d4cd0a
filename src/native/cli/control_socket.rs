//! The control socket of a walferry that runs.

use std::path::PathBuf;

use clap::Args;

use super::config_file::ConfigFile;
use super::failure::{Class, Failure};
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

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::new(Class::Unreachable, error.to_string())
    }
}
