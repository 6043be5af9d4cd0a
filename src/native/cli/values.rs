//! Values of options: intervals, sizes, times.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::{SignedDuration, Span, SpanRelativeTo};

use crate::ltx::Timestamp;
use crate::replica::Level;

/// `1s`, `500ms`
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let example = "a time is written 500ms, 1s or 5m";
    let duration: SignedDuration = text.parse().map_err(|_| example.to_owned())?;
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("it must be longer than nothing: {example}"))
}

/// `30s`; `30` is seconds, as Litestream's commands take it.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &u64| seconds > 0);
    seconds.map_or_else(|| interval(text), |seconds| Ok(Duration::from_secs(seconds)))
}

/// One level, or all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels(pub(super) Option<Level>);

/// `9`, `all`
pub(super) fn levels(text: &str) -> Result<Levels, String> {
    if text == "all" {
        return Ok(Levels(None));
    }
    let level = text.parse().ok().and_then(Level::new);
    level
        .map(|level| Levels(Some(level)))
        .ok_or_else(|| "a level is a number from 0 to 9, or all".to_owned())
}

/// `64MiB`
pub(super) fn size(text: &str) -> Result<u64, String> {
    let example = "a size is written 64MiB, 500kB or 1GiB";
    let size: ByteSize = text.parse().map_err(|_| example.to_owned())?;
    Some(size.as_u64())
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| format!("it must be more than nothing: {example}"))
}

/// `8`
pub(super) fn parallelism(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=256).contains(number));
    number.ok_or_else(|| "it is a number from 1 to 256".to_owned())
}

/// `2026-01-31T12:00:00Z`, `30m ago`
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    time_at(text, jiff::Timestamp::now())
}

fn time_at(text: &str, now: jiff::Timestamp) -> Result<Timestamp, String> {
    let example = "a time is written 2026-01-31T12:00:00Z, 2026-01-31T13:00:00+01:00, or \"30m ago\"";
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(time.as_millisecond()));
    }
    let span: Span = text.parse().map_err(|_| example.to_owned())?;
    if span.is_positive() {
        return Err(format!("say \"{text} ago\": {example}"));
    }
    let ago = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years differ in length: say it in days".to_owned())?;
    let time = now
        .checked_add(ago)
        .map_err(|_| "that is too long ago".to_owned())?;
    Ok(Timestamp(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_ago() {
        let now: jiff::Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let at = |text: &str| time_at(text, now).map(|time| time.0 - now.as_millisecond());
        assert_eq!(at("2026-01-31T12:00:00.250Z"), Ok(250));
        assert_eq!(at("2026-01-31T13:00:01+01:00"), Ok(1000));
        assert_eq!(at("0s ago"), Ok(0));
        assert_eq!(at("30m ago"), Ok(-30 * 60_000));
        assert_eq!(at("1h 30m ago"), Ok(-90 * 60_000));
        assert_eq!(at("2 days ago"), Ok(-2 * 86_400_000));
        for (text, hint) in [
            ("yesterday", "30m ago"),
            ("2026-01-31T12:00:00", "Z"),
            ("30m", "30m ago"),
            ("1 month ago", "days"),
            ("", "30m ago"),
        ] {
            let error = at(text).unwrap_err();
            assert!(error.contains(hint), "{text:?}: {error}");
        }
    }

    #[test]
    fn sizes_and_intervals_are_more_than_nothing() {
        assert_eq!(size("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "0", "-5", "x"] {
            size(text).unwrap_err();
            interval(text).unwrap_err();
        }
        interval("0s").unwrap_err();
        interval("-1s").unwrap_err();
    }
}
