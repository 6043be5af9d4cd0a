//! The `Range` header.

use super::failure::Failure;

/// The largest integer that JavaScript holds; no object is as long.
const MAX: u64 = (1 << 53) - 1;

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// From one byte to another, both included.
    Between(u64, u64),
    /// From a byte to the end.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

impl Wanted {
    /// Reads `bytes=a-b`, `bytes=a-` or `bytes=-n`. Several ranges at once are refused: nothing here sends them.
    pub(super) fn parse(header: &str) -> Result<Self, Failure> {
        let parsed = header
            .trim()
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
            .and_then(|(first, last)| match (first, last) {
                ("", last) => number(last).map(Self::Last),
                (first, "") => number(first).map(Self::From),
                (first, last) => {
                    let (first, last) = (number(first)?, number(last)?);
                    (first <= last).then_some(Self::Between(first, last))
                }
            });
        parsed.ok_or_else(|| {
            Failure::bad_request(
                "invalid_range",
                "The Range header must be bytes=<first>-<last>, bytes=<first>- or bytes=-<length>, one range only.",
            )
        })
    }

    /// As R2 takes it.
    pub(super) fn for_r2(self) -> worker::Range {
        match self {
            Self::Between(first, last) => worker::Range::OffsetWithLength {
                offset: first,
                length: last.saturating_sub(first).saturating_add(1).min(MAX),
            },
            Self::From(offset) => worker::Range::OffsetToEnd { offset },
            Self::Last(suffix) => worker::Range::Suffix { suffix },
        }
    }

    /// The first and the last byte that it means of an object, if there are any.
    pub(super) fn within(self, size: u64) -> Option<(u64, u64)> {
        let end = size.checked_sub(1)?;
        match self {
            Self::Between(first, last) => (first <= end).then_some((first, last.min(end))),
            Self::From(first) => (first <= end).then_some((first, end)),
            Self::Last(0) => None,
            Self::Last(length) => Some((size.saturating_sub(length), end)),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX).min(MAX))
}
