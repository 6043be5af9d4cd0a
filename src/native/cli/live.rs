//! `walferry register`, `unregister`, `stop`, `start`: databases of a walferry that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use super::control_socket::{ControlSocket, absolute};
use super::failure::{Class, Failure};
use super::{output, values};
use crate::native::fleet::control::{
    AskError, LetGoAnswer, LetGoQuestion, RegisterQuestion, ask_register, ask_to_let_go,
};

/// How long an answer may come after the time that it was asked to keep.
const GRACE: Duration = Duration::from_secs(2);

/// A database, and who has it.
#[derive(Debug, Args)]
struct Named {
    /// The database
    #[arg(value_name = "DB")]
    database: PathBuf,

    /// Wait no longer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::wait)]
    timeout: Duration,

    #[command(flatten)]
    socket: ControlSocket,

    /// Print the answer, or the error, as JSON
    #[arg(long)]
    json: bool,
}

/// Have the walferry that runs follow a database too
///
/// From now on, until it is unregistered or walferry ends: at its next start, walferry follows what its configuration
/// names. What the configuration says of all replicas (retention, levels, credentials) is said of this one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry register -replica s3://my-bucket/app /srv/app.db
  walferry register -socket /run/walferry.sock -replica file:///mnt/backup/app -json /srv/app.db")]
pub(super) struct Register {
    /// Where it goes: s3://bucket/path, gs://…, abs://…, file:///path, https://host/v1/name
    #[arg(long, value_name = "URL")]
    replica: String,

    #[command(flatten)]
    named: Named,
}

/// Have the walferry that runs ship what a database has committed, and forget it
///
/// Its replica stays. A database of a watched folder is not taken up again before it is registered or walferry is
/// started anew.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry unregister /srv/app.db
  walferry unregister -dry-run /srv/app.db")]
pub(super) struct Unregister {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    named: Named,
}

/// Have the walferry that runs ship what a database has committed, and let go of it
///
/// Returns when it has: the file may be replaced then, moved, or set to another journal mode. `walferry start` goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry stop /srv/app.db && sqlite3 /srv/app.db 'pragma journal_mode=delete'
  walferry stop -timeout 10 -json /srv/app.db")]
pub(super) struct Stop {
    #[command(flatten)]
    named: Named,
}

/// Have the walferry that runs go on with a database that was stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry start /srv/app.db")]
pub(super) struct Start {
    #[command(flatten)]
    named: Named,
}

/// What is printed as JSON: the answer, and what scripts written for Litestream look for.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    answer: &'a LetGoAnswer,
    db_path: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    socket: &'a Path,
}

pub(super) async fn register(arguments: Register) -> Result<(), Failure> {
    let (named, url) = (arguments.named, arguments.replica);
    let question = RegisterQuestion {
        path: absolute(&named.database)?,
        replica_url: Some(url.clone()),
    };
    named
        .tell(
            async |socket| ask_register(socket, &question).await,
            Some(&url),
            None,
        )
        .await
}

pub(super) async fn unregister(arguments: Unregister) -> Result<(), Failure> {
    let named = arguments.named;
    if arguments.dry_run {
        let (database, socket) = (absolute(&named.database)?, named.socket.path()?);
        let (database, socket) = (database.display(), socket.display());
        return output::text(&format!(
            "{database} would be shipped as far as it is committed, and forgotten, by the walferry at {socket}. Nothing was \
             asked of it.\n"
        ));
    }
    named.let_go("/unregister", None).await
}

pub(super) async fn stop(arguments: Stop) -> Result<(), Failure> {
    arguments.named.let_go("/stop", Some("stopped")).await
}

pub(super) async fn start(arguments: Start) -> Result<(), Failure> {
    arguments.named.let_go("/start", Some("running")).await
}

impl Named {
    async fn let_go(&self, request: &str, state: Option<&str>) -> Result<(), Failure> {
        let question = LetGoQuestion {
            path: absolute(&self.database)?,
            timeout: Some(self.timeout.as_secs_f64()),
        };
        let ask = async |socket: &Path| ask_to_let_go(socket, request, &question).await;
        self.tell(ask, None, state).await
    }

    async fn tell(
        &self,
        ask: impl AsyncFnOnce(&Path) -> Result<LetGoAnswer, AskError>,
        replica: Option<&str>,
        state: Option<&str>,
    ) -> Result<(), Failure> {
        let socket = self.socket.path()?;
        let late = |_| {
            let (socket, seconds) = (socket.display(), self.timeout.as_secs_f64());
            Failure::new(
                Class::Unreachable,
                format!("no answer at {socket} within {seconds} s; what was asked for goes on"),
            )
        };
        let limit = self.timeout.saturating_add(GRACE);
        let answer = timeout(limit, ask(&socket)).await.map_err(late)??;
        if self.json {
            return output::json(&Told {
                answer: &answer,
                db_path: &answer.path,
                replica,
                state,
                socket: &socket,
            });
        }
        let status = answer.status.replace('_', " ");
        let at = answer.txid.filter(|txid| *txid > 0);
        let at = at.map_or(String::new(), |txid| format!(" at {txid:016x}"));
        output::text(&format!("{} is {status}{at}\n", answer.path.display()))
    }
}
