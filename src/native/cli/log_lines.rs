//! One line an event: for a person at a terminal, as `key=value` (what Litestream calls text), or as JSON.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For a terminal: the time of day, the level, the message, fields.
    Pretty,
    /// `time=… level=INFO msg="…" db=…`, as Go's slog writes.
    Text,
    /// `{"time":…,"level":"INFO","msg":…,"db":…}`
    Json,
}

/// Where lines go, and how they look; both can be changed while it runs.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    format: Arc<AtomicU8>,
    stdout: Arc<AtomicU8>,
}

impl Lines {
    pub(super) fn new(format: Format) -> Self {
        let lines = Self {
            format: Arc::default(),
            stdout: Arc::default(),
        };
        lines.set_format(format);
        lines
    }

    pub(super) fn set_format(&self, format: Format) {
        self.format.store(format as u8, Ordering::Relaxed);
    }

    /// To stdout instead of stderr.
    pub(super) fn set_stdout(&self) {
        self.stdout.store(1, Ordering::Relaxed);
    }

    fn format(&self) -> Format {
        match self.format.load(Ordering::Relaxed) {
            0 => Format::Pretty,
            1 => Format::Text,
            _ => Format::Json,
        }
    }

    /// In one write, so that lines of others do not get in between. That no one reads it is no failure.
    fn write(&self, line: &str) {
        if self.stdout.load(Ordering::Relaxed) == 0 {
            let _ = std::io::stderr().write_all(line.as_bytes());
        } else {
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
    }
}

/// The fields of a span or an event, in their order.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        // Whose event it is: the database and the replica stand in the spans around it.
        let mut all: Vec<(&'static str, Value)> = Vec::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                all.extend(fields.fields.iter().cloned());
            }
        }
        // What the event says itself, it knows better.
        all.retain(|(name, _)| own.fields.iter().all(|(own, _)| own != name));
        all.extend(own.fields);
        let now = jiff::Timestamp::now();
        let line = line(self.format(), now, *event.metadata().level(), own.message, all);
        self.write(&line);
    }
}

fn line(
    format: Format,
    now: jiff::Timestamp,
    level: Level,
    message: String,
    fields: Vec<(&'static str, Value)>,
) -> String {
    let time = format!("{now:.3}");
    match format {
        Format::Json => {
            let head = [
                ("time", time.into()),
                ("level", level.as_str().into()),
                ("msg", message.into()),
            ];
            let all = head.into_iter().chain(fields);
            let members: Vec<String> = all
                .map(|(name, value)| format!("{}:{value}", Value::from(name)))
                .collect();
            format!("{{{}}}\n", members.join(","))
        }
        Format::Text => {
            let message = quoted(&Value::String(message));
            let mut line = format!("time={time} level={level} msg={message}");
            append(&mut line, &fields);
            line
        }
        Format::Pretty => {
            let (start, end) = colour(level);
            // The time of day of a terminal is today's.
            let clock = time.get(11..19).unwrap_or(&time);
            let mut line = format!("{clock} {start}{level:<5}{end} {}", printable(&message));
            append(&mut line, &fields);
            line
        }
    }
}

fn append(line: &mut String, fields: &[(&'static str, Value)]) {
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = write!(line, " {name}={}", quoted(value));
    }
    line.push('\n');
}

/// Bare where that is unmistakable, else as JSON writes it.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let bare = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
            if !text.is_empty() && text.chars().all(bare) {
                text.clone()
            } else {
                value.to_string()
            }
        }
        _ => value.to_string(),
    }
}

/// Without what would move the cursor of a terminal: messages quote names and answers of others.
fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(escape).collect()
}

fn colour(level: Level) -> (&'static str, &'static str) {
    if !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return ("", "");
    }
    match level {
        Level::ERROR => ("\u{1b}[31m", "\u{1b}[0m"),
        Level::WARN => ("\u{1b}[33m", "\u{1b}[0m"),
        _ => ("\u{1b}[2m", "\u{1b}[0m"),
    }
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let now = "2026-01-31T12:00:00.25Z".parse().unwrap();
        let fields = vec![
            ("db", "/srv/app.db".into()),
            ("segments", 7.into()),
            ("error", "no \"such\"\nhost".into()),
        ];
        line(
            format,
            now,
            Level::WARN,
            "cannot ship\u{1b}[2J".to_owned(),
            fields,
        )
    }

    #[test]
    fn a_line_is_one_line_in_every_format() {
        assert_eq!(
            written(Format::Text),
            "time=2026-01-31T12:00:00.250Z level=WARN msg=\"cannot ship\\u001b[2J\" db=/srv/app.db segments=7 \
             error=\"no \\\"such\\\"\\nhost\"\n"
        );
        let json: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(json["level"], "WARN");
        assert_eq!(json["time"], "2026-01-31T12:00:00.250Z");
        assert_eq!(json["error"], "no \"such\"\nhost");
        assert_eq!(
            written(Format::Pretty),
            "12:00:00 WARN  cannot ship\u{fffd}[2J db=/srv/app.db segments=7 error=\"no \\\"such\\\"\\nhost\"\n"
        );
    }
}
