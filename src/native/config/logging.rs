//! `logging`: what is told, how, and where.

use super::foreign;
use super::section::Section;
use super::values;

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// From which level on; `None` where it is not said.
    pub level: Option<tracing::Level>,
    /// One JSON object a line.
    pub json: bool,
    /// On stdout, as Litestream writes them unless told otherwise. Here that must be said, by `stderr: false`.
    pub stdout: bool,
}

impl Logging {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let logging = Self {
            level: section.value("level", level),
            json: section.value("type", kind).unwrap_or_default(),
            stdout: section.value("stderr", values::flag) == Some(false),
        };
        section.finish(foreign::LOGGING);
        logging
    }
}

fn level(text: &str) -> Result<tracing::Level, String> {
    let text = match text.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        other => other.to_owned(),
    };
    // Numbers are levels to the library, not to us.
    let level = text
        .parse()
        .ok()
        .filter(|_| text.starts_with(|c: char| c.is_ascii_alphabetic()));
    level.ok_or_else(|| "it is error, warn, info, debug or trace".to_owned())
}

fn kind(text: &str) -> Result<bool, String> {
    match text {
        "json" => Ok(true),
        "text" | "pretty" | "tint" => Ok(false),
        _ => Err("it is text or json".to_owned()),
    }
}
