//! The application that `replicate` starts and ends with.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::process::Command;

use super::failure::{Class, Failure};
use super::signals::Child;

/// Starts it, with our input and output, and waits until it ends.
pub(super) async fn run(words: &[String], signals: &Child) -> Result<ExitStatus, Failure> {
    let failed = |error| {
        let program = words.first().map_or("", String::as_str);
        Failure::new(Class::Usage, format!("cannot start {program:?}: {error}"))
    };
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Failure::new(Class::Usage, "-exec names no program"))?;
    let mut child = Command::new(program).args(arguments).spawn().map_err(failed)?;
    signals.is(child.id());
    let ended = child.wait().await.map_err(failed);
    signals.is(None);
    let ended = ended?;
    tracing::info!(%ended, "the application has ended");
    Ok(ended)
}

/// How we end when it has ended so.
pub(super) fn outcome(ended: ExitStatus) -> Result<(), Failure> {
    let code = match (ended.code(), ended.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => code,
        (None, signal) => signal.unwrap_or_default().saturating_add(128),
    };
    Err(Failure::new(
        Class::Application(u8::try_from(code).unwrap_or(1)),
        format!("the application has ended: {ended}"),
    ))
}
