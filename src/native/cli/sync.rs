//! `walferry sync`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::control_socket::ControlSocket;
use super::failure::{Class, Failure};
use super::output;
use super::signals::Signals;
use super::values;
use crate::native::fleet::control::{SyncQuestion, ask_sync};

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
    database: PathBuf,

    /// Return when every replica has confirmed it
    #[arg(long)]
    wait: bool,

    /// Wait no longer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::wait)]
    timeout: Duration,

    #[command(flatten)]
    socket: ControlSocket,

    /// Print the answer, or the error, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Sync, signals: Signals) -> Result<(), Failure> {
    let path = std::path::absolute(&arguments.database)
        .map_err(|error| Failure::new(Class::Usage, format!("{}: {error}", arguments.database.display())))?;
    let socket = arguments.socket.path()?;
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
