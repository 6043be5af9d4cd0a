//! `walferry sync`

use std::path::PathBuf;

use super::args::Sync;
use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use crate::native::config::DEFAULT_SOCKET;
use crate::native::fleet::control::{AskError, SyncQuestion, ask_sync};

pub(super) async fn run(arguments: Sync, signals: Signals) -> Result<(), Failure> {
    let path = std::path::absolute(&arguments.database)
        .map_err(|error| Failure::new(Class::Usage, format!("{}: {error}", arguments.database.display())))?;
    let socket = socket(&arguments)?;
    let question = SyncQuestion {
        path,
        wait: arguments.wait,
        timeout: Some(arguments.timeout.as_secs_f64()),
    };
    let answer = tokio::select! {
        answer = ask_sync(&socket, &question) => answer?,
        signal = signals.first() => {
            return Err(Failure::new(Class::Interrupted(signal), "broken off; what was asked for goes on"));
        }
    };
    if arguments.json {
        return output::json(&answer);
    }
    let mut text = format!("{} is {}\n", answer.path.display(), answer.status);
    for replica in &answer.replicas {
        let at = replica
            .txid
            .map_or("nothing yet".to_owned(), |txid| txid.to_string());
        text.push_str(&format!("  {} has {at}\n", replica.replica));
    }
    output::text(&text)
}

/// The one that is named, the configuration's if there is one, or the usual.
fn socket(arguments: &Sync) -> Result<PathBuf, Failure> {
    if let Some(socket) = &arguments.socket {
        return Ok(socket.clone());
    }
    let socket = match arguments.config.load() {
        Ok(config) => config.socket.map(|socket| socket.path),
        Err(failure) if arguments.config.config.is_some() => return Err(failure),
        Err(_) => None,
    };
    Ok(socket.unwrap_or_else(|| DEFAULT_SOCKET.into()))
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::new(Class::Unreachable, error.to_string())
    }
}
