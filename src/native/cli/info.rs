//! `walferry info`

use std::time::Duration;

use clap::Args;

use super::control_socket::Question;
use super::failure::Failure;
use crate::native::fleet::control::{InfoAnswer, ask_info};

/// Ask the walferry that runs who it is
///
/// Its version, its process, for how long it has run, and how many databases it replicates: at its control socket.
#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    question: Question,
}

pub(super) async fn run(arguments: Info) -> Result<(), Failure> {
    arguments.question.answer(ask_info, text).await
}

fn text(answer: &InfoAnswer) -> String {
    let uptime = Duration::from_secs(answer.uptime_seconds as u64);
    format!(
        "walferry {}\n  process    {}\n  databases  {}\n  runs for   {uptime:?}\n",
        answer.version, answer.pid, answer.databases
    )
}
