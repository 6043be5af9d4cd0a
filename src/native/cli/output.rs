//! What is printed. A reader that went away (`walferry ltx … | head`) is no failure.

use std::io::{self, Write};

use serde::Serialize;

use super::failure::{Class, Failure};

pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Class::Unexpected,
            format!("cannot write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Class::Unexpected, error.to_string()))?;
    json.push('\n');
    text(&json)
}

/// Tells a failure on stderr, and as JSON on stdout where JSON is read there.
pub(super) fn failure(failure: &Failure, wants_json: bool) {
    if failure.message.is_empty() {
        return;
    }
    #[derive(Serialize)]
    struct Body<'a> {
        error: Detail<'a>,
    }
    #[derive(Serialize)]
    struct Detail<'a> {
        code: &'a str,
        message: &'a str,
    }
    let error = Detail {
        code: failure.class.name(),
        message: &failure.message,
    };
    if wants_json {
        // If stdout is closed, stderr still tells.
        let _ = json(&Body { error });
    }
    let _ = writeln!(io::stderr(), "walferry: {}", failure.message);
}
