//! `walferry info`

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::control_socket::ControlSocket;
use super::failure::{Class, Failure};
use super::output;
use super::values;
use crate::native::fleet::control::ask_info;

/// Ask the walferry that runs who it is
///
/// Its version, its process, for how long it has run, and how many databases it replicates: at its control socket.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Wait no longer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::interval)]
    timeout: Duration,

    #[command(flatten)]
    socket: ControlSocket,

    /// Print the answer, or the error, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Info) -> Result<(), Failure> {
    let socket = arguments.socket.path()?;
    let late = |_| {
        let (socket, seconds) = (socket.display(), arguments.timeout.as_secs_f64());
        Failure::new(
            Class::Unreachable,
            format!("no answer at {socket} within {seconds} s"),
        )
    };
    let answer = timeout(arguments.timeout, ask_info(&socket))
        .await
        .map_err(late)??;
    if arguments.json {
        return output::json(&answer);
    }
    let uptime = Duration::from_secs(answer.uptime_seconds as u64);
    output::text(&format!(
        "walferry {}\n  process    {}\n  databases  {}\n  runs for   {uptime:?}\n",
        answer.version, answer.pid, answer.databases
    ))
}
