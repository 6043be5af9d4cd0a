//! `walferry token`

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::failure::{Class, Failure};
use super::output;
use super::values;
use crate::token::{Claims, Key, MIN_KEY_LEN, Scope};

/// Make a token for a database at a Worker
///
/// The key is the secret WALFERRY_TOKEN_KEY of the Worker, and is read from the environment variable of that name.
/// Make one with `openssl rand -hex 32`, and keep it where only you make tokens: whoever has it can make any.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  export WALFERRY_TOKEN_KEY=…
  walferry token app --scope write                 # for the server that ships app
  walferry token app --expires 1h                  # for a page that reads it
  walferry token '*' --scope admin --expires 1h    # for all databases")]
pub(super) struct Token {
    /// The name of the database at the Worker, or * for all
    #[arg(value_name = "NAME", value_parser = name)]
    database: String,

    /// What may be done with it
    #[arg(long, value_enum, default_value_t = ScopeName::Read)]
    scope: ScopeName,

    /// For how long
    #[arg(long, value_name = "TIME", default_value = "8760h", value_parser = values::interval)]
    expires: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeName {
    /// Restore and follow
    Read,
    /// Ship, and read
    Write,
    /// Repair and look at everything, too
    Admin,
}

pub(super) fn run(arguments: &Token) -> Result<(), Failure> {
    let usage = |why: String| Failure::new(Class::Usage, why);
    let secret = std::env::var("WALFERRY_TOKEN_KEY").map_err(|_| {
        usage("the key is missing: set WALFERRY_TOKEN_KEY to the Worker's secret of that name".to_owned())
    })?;
    let key = Key::new(secret.as_bytes()).ok_or_else(|| {
        usage(format!(
            "the key in WALFERRY_TOKEN_KEY is too short: it needs {MIN_KEY_LEN} characters at least; make one with \
             `openssl rand -hex 32`"
        ))
    })?;
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let claims = Claims {
        database: arguments.database.clone(),
        scope: match arguments.scope {
            ScopeName::Read => Scope::Read,
            ScopeName::Write => Scope::Write,
            ScopeName::Admin => Scope::Admin,
        },
        expires: now.saturating_add(arguments.expires.as_secs()),
    };
    let token = claims
        .sign(&key)
        .map_err(|error| Failure::new(Class::Unexpected, format!("the token cannot be made: {error}")))?;
    output::text(&format!("{token}\n"))
}

/// As the Worker takes them.
fn name(text: &str) -> Result<String, String> {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = text.len() <= 63
        && text.bytes().next().is_some_and(lower)
        && text
            .bytes()
            .all(|byte| lower(byte) || matches!(byte, b'_' | b'-'));
    if valid || text == "*" {
        Ok(text.to_owned())
    } else {
        Err("a database name is 1 to 63 of a-z, 0-9, _ and -, and starts with a letter or a digit".to_owned())
    }
}
