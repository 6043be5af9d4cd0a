//! The parameters behind a path's `?`, each known, given once, and checked before use.

use worker::url::form_urlencoded;
use worker::{Request, js_sys};

use super::failure::Failure;
use crate::ltx::{Timestamp, Txid};
use crate::replica::Target;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Refuses parameters that the route does not know: a misspelt `txid` must not restore the newest state.
    pub(super) fn of(request: &Request, known: &[&str]) -> Result<Self, Failure> {
        let url = request.inner().url();
        // Only the query is parsed: the `url` crate's parser would bring 100 kB of host name tables.
        let query = url
            .split('#')
            .next()
            .and_then(|url| url.split_once('?'))
            .map_or("", |(_, query)| query);
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let shown: String = name.chars().take(40).collect();
                let message = format!(
                    "There is no parameter {shown:?} here; known: {}.",
                    known.join(", ")
                );
                return Err(Failure::bad_request("unknown_parameter", message));
            }
            if pairs.iter().any(|(given, _)| *given == name) {
                return Err(Failure::bad_request(
                    "repeated_parameter",
                    format!("The parameter {name} is given twice."),
                ));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// A parameter's value; an empty one is as good as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(given, _)| given == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn txid(&self, name: &str) -> Result<Option<Txid>, Failure> {
        let parse = |value: &str| {
            value.parse().map_err(|why| {
                Failure::bad_request("invalid_txid", format!("The parameter {name} is no TXID: {why}."))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// The state that `txid` or `timestamp` names; the newest if there is neither.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        match (self.txid("txid")?, self.time("timestamp")?) {
            (None, None) => Ok(Target::Latest),
            (Some(txid), None) => Ok(Target::Txid(txid)),
            (None, Some(time)) => Ok(Target::Time(time)),
            (Some(_), Some(_)) => {
                let message = "Give txid or timestamp, not both.";
                Err(Failure::bad_request("ambiguous_target", message))
            }
        }
    }

    pub(super) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, Failure> {
        let parse = |value: &str| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            value
                .parse()
                .ok()
                .filter(|number| digits && range.contains(number))
                .ok_or_else(|| {
                    let message = format!(
                        "The parameter {name} must be a number from {} to {}.",
                        range.start(),
                        range.end()
                    );
                    Failure::bad_request("invalid_number", message)
                })
        };
        self.text(name).map(parse).transpose()
    }

    /// A number of bytes.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<u64>, Failure> {
        const MAX: u64 = 1 << 53;
        let parse = |value: &str| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let number = value.parse().ok().filter(|&number| digits && number <= MAX);
            number.ok_or_else(|| {
                Failure::bad_request(
                    "invalid_number",
                    format!("The parameter {name} must be a number of bytes."),
                )
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// A time: Unix milliseconds, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let parse = |value: &str| {
            parse_time(value).ok_or_else(|| {
                let message = format!(
                    "The parameter {name} must be a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970; \
                     in a URL, the + of an offset is written %2B."
                );
                Failure::bad_request("invalid_timestamp", message)
            })
        };
        self.text(name).map(parse).transpose()
    }
}

/// JavaScript parses the date; its other notations, which differ between engines, are kept from it.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    if text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Timestamp);
    }
    let millis = is_rfc3339(text).then(|| js_sys::Date::parse(text))?;
    millis.is_finite().then_some(Timestamp(millis as i64))
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`
fn is_rfc3339(text: &str) -> bool {
    let Some((seconds, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, pattern)| match pattern {
                    b'0' => byte.is_ascii_digit(),
                    b'+' => matches!(byte, b'+' | b'-'),
                    other => byte == other,
                })
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            let digits = fraction.len().saturating_sub(zone.len());
            if !(1..=9).contains(&digits) {
                return false;
            }
            zone
        }
        None => rest,
    };
    shape(seconds, "0000-00-00T00:00:00") && (zone == "Z" || shape(zone, "+00:00"))
}
