//! What texts mean: times, sizes, numbers, yes and no.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;

/// `72h`, `1h30m`, `500ms`, `7d`; zero too.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let example = "a time is written 500ms, 10s, 5m or 72h";
    if let Some(days) = text
        .trim()
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok())
    {
        return Ok(Duration::from_secs(u64::from(days).saturating_mul(86_400)));
    }
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let duration: SignedDuration = text.parse().map_err(|_| example.to_owned())?;
    Duration::try_from(duration).map_err(|_| format!("it cannot be less than nothing: {example}"))
}

/// The same, but longer than nothing.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| match duration.is_zero() {
        true => Err("it must be longer than nothing: a time is written 500ms, 1s or 5m".to_owned()),
        false => Ok(duration),
    })
}

/// `https://…`
pub(crate) fn web_address(text: &str) -> Result<reqwest::Url, String> {
    let url = text.parse::<reqwest::Url>().ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| "it must be an address on the web: https://…".to_owned())
}

/// `64MiB`, `1048576`; more than nothing.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let example = "a size is written 64MiB, 500kB or 1GiB";
    let size: ByteSize = text.parse().map_err(|_| example.to_owned())?;
    Some(size.as_u64())
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| format!("it must be more than nothing: {example}"))
}

/// As YAML 1.1 has it.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    }
}

/// A whole number in a range.
pub(super) fn number(text: &str, smallest: u64, largest: u64) -> Result<u64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (smallest..=largest).contains(number));
    number.ok_or_else(|| format!("it is a number from {smallest} to {largest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("72h", 72 * 3_600_000),
            ("1h30m", 90 * 60_000),
            ("24h0m0s", 86_400_000),
            ("1.5s", 1500),
            ("500ms", 500),
            ("7d", 7 * 86_400_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "-1s", "soon", "1 month", "h"] {
            assert!(duration(text).unwrap_err().contains("500ms"), "{text}");
        }
        interval("0s").unwrap_err();
    }

    #[test]
    fn the_rest() {
        assert_eq!(size("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(size("1048576"), Ok(1_048_576));
        assert!(size("0").is_err() && size("much").is_err());
        assert_eq!((flag("true"), flag("No")), (Ok(true), Ok(false)));
        assert!(flag("maybe").is_err() && flag("").is_err());
        assert_eq!(number("3", 1, 8), Ok(3));
        assert!(number("9", 1, 8).is_err() && number("-1", 0, 8).is_err());
    }
}
