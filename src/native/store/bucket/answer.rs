//! What a bucket's provider says when it does not do what it was asked.

use std::fmt;

use hyper::http::HeaderMap;

/// A refusal: the status, and what the body says in XML, as all three providers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `NoSuchBucket`, `AccessDenied`; empty where nothing was said.
    pub(super) code: String,
    pub(super) message: String,
    /// Where the bucket really is.
    pub(super) region: Option<String>,
}

impl Answer {
    pub(super) fn new(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let code = tag(&body, "Code").or_else(|| header("x-ms-error-code"));
        Self {
            status,
            code: code.unwrap_or_default(),
            message: tag(&body, "Message")
                .map(|text| sentence(&text))
                .unwrap_or_default(),
            region: header("x-amz-bucket-region").or_else(|| tag(&body, "Region")),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Answer {}

/// The content of the first element of that name.
fn tag(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = content
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    Some(plain)
}

/// One line, of bearable length, without a full stop at its end.
fn sentence(text: &str) -> String {
    const LONGEST: usize = 200;
    let line = text.lines().next().unwrap_or_default().trim();
    let line: String = line.chars().take(LONGEST).collect();
    line.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_message_and_region_are_found_wherever_they_are_said() {
        let body =
            b"<?xml version=\"1.0\"?>\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region \
            &apos;a&apos; is wrong; expecting 'b'.</Message><Region>b</Region></Error>";
        let answer = Answer::new(400, &HeaderMap::new(), body);
        assert_eq!(answer.code, "AuthorizationHeaderMalformed");
        assert_eq!(answer.message, "The region 'a' is wrong; expecting 'b'");
        assert_eq!(answer.region.as_deref(), Some("b"));
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        headers.insert("x-ms-error-code", "BlobNotFound".parse().unwrap());
        let answer = Answer::new(301, &headers, b"");
        assert_eq!(answer.region.as_deref(), Some("eu-west-1"));
        assert_eq!(answer.to_string(), "301 BlobNotFound");
        assert_eq!(
            Answer::new(503, &HeaderMap::new(), b"\xff<html>").to_string(),
            "503"
        );
    }
}
