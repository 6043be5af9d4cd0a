//! `walferry list`

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::control_socket::ControlSocket;
use super::failure::{Class, Failure};
use super::output;
use super::values;
use crate::native::fleet::control::ask_list;

/// List the databases that the walferry that runs replicates
///
/// Where each of their replicas stands, and what fails: at its control socket. What a configuration would have replicated is
/// listed by walferry databases.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Wait no longer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::interval)]
    timeout: Duration,

    #[command(flatten)]
    socket: ControlSocket,

    /// Print the answer, or the error, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: List) -> Result<(), Failure> {
    let socket = arguments.socket.path()?;
    let late = |_| {
        let (socket, seconds) = (socket.display(), arguments.timeout.as_secs_f64());
        Failure::new(
            Class::Unreachable,
            format!("no answer at {socket} within {seconds} s"),
        )
    };
    let answer = timeout(arguments.timeout, ask_list(&socket))
        .await
        .map_err(late)??;
    if arguments.json {
        return output::json(&answer);
    }
    let mut text = String::new();
    for database in &answer {
        let failure = database
            .failure
            .as_ref()
            .map_or(String::new(), |why| format!(": {why}"));
        text.push_str(&format!(
            "{} is {}{failure}\n",
            database.path.display(),
            database.status
        ));
        for replica in &database.replicas {
            let at = replica
                .txid
                .map_or("nothing yet".to_owned(), |txid| txid.to_string());
            let failure = replica
                .failure
                .as_ref()
                .map_or(String::new(), |why| format!(": {why}"));
            text.push_str(&format!("  {} has {at}{failure}\n", replica.replica));
        }
    }
    output::text(&text)
}
