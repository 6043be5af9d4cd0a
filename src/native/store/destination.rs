//! Where a replica is: the URL on the command line.

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

use reqwest::Url;

use super::{FolderStore, WorkerStore};
use crate::ltx::Codec;
use crate::store::{Error, Result, Store};

/// A replica's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `file:///absolute/path`
    Folder(PathBuf),
    /// `https://host/v1/name`
    Worker(Url),
}

/// What a destination wants to know of who asks.
#[derive(Clone, Default)]
pub struct Access {
    /// For Workers.
    pub token: Option<String>,
}

/// A URL that names no replica: a sentence that says why, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

impl Destination {
    /// Reads a URL. Plain `http` sends the token and the data in the clear: it is for this machine, unless
    /// `insecure` allows it.
    pub fn parse(text: &str, insecure: bool) -> std::result::Result<Self, InvalidUrl> {
        let invalid = |why: String| Err(InvalidUrl(why));
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(_) if text.contains("://") => {
                return invalid(format!(
                    "{text:?} is not a valid URL: write file:///path/of/the/replica or https://host/v1/name"
                ));
            }
            Err(_) => return invalid(plain_path(text)),
        };
        match url.scheme() {
            "file" => folder(text, &url),
            "http" | "https" => worker(url, insecure),
            "s3" | "gs" | "abs" | "oss" | "sftp" | "webdav" | "webdavs" | "nats" => invalid(format!(
                "{}:// destinations are not there yet: use a folder (file:///…) or a Worker (https://host/v1/name)",
                url.scheme()
            )),
            // A Windows path, or a name with a colon.
            _ if !text.contains("://") => invalid(plain_path(text)),
            scheme => invalid(format!(
                "{scheme}:// is no kind of destination: use file:///path/of/the/replica or https://host/v1/name"
            )),
        }
    }

    /// The way to its objects.
    pub fn open(&self, access: &Access) -> Result<Rc<dyn Store>> {
        Ok(match self {
            Self::Folder(path) => Rc::new(FolderStore::new(path)),
            Self::Worker(url) => Rc::new(WorkerStore::new(url.clone(), access.token.as_deref())?),
        })
    }

    /// For who wants to read: a folder must be there, or else its path is mistyped.
    pub fn require(&self) -> Result<()> {
        match self {
            Self::Folder(path) if !path.is_dir() => {
                Err(Error::NotFound(format!("the folder {}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// What pages are packed with unless the user says otherwise. Folders stay readable by Litestream; what a
    /// Worker holds goes to browsers, where fewer bytes count.
    pub fn default_codec(&self) -> Codec {
        match self {
            Self::Folder(_) => Codec::Lz4,
            Self::Worker(_) => Codec::Deflate,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::Worker(url) => f.write_str(url.as_str()),
        }
    }
}

impl Access {
    /// The token from `WALFERRY_TOKEN`.
    pub fn from_environment() -> Self {
        Self {
            token: std::env::var("WALFERRY_TOKEN").ok(),
        }
    }
}

/// Without the token.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Access").field("token", &token).finish()
    }
}

fn plain_path(text: &str) -> String {
    if text.is_empty() {
        return "the URL is empty: write file:///path/of/the/replica or https://host/v1/name".to_owned();
    }
    let absolute = std::path::absolute(text).unwrap_or_else(|_| PathBuf::from(text));
    format!(
        "{text:?} is not a URL: a folder is written file://{}",
        absolute.display()
    )
}

fn folder(text: &str, url: &Url) -> std::result::Result<Destination, InvalidUrl> {
    let invalid = |why: &str| Err(InvalidUrl(format!("{text:?} {why}")));
    // The parser would make file:a and file:/a absolute; with an authority it takes a folder for a host.
    if !text
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("file://"))
    {
        return invalid("is written file:///absolute/path, with three slashes");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return invalid("has a ? or a #: in a path they are written %3F and %23");
    }
    match url.to_file_path() {
        Err(()) => invalid("is a relative path: a file URL is absolute, file:///path/of/the/replica"),
        Ok(path) if path.parent().is_none() => invalid("names no folder: write file:///path/of/the/replica"),
        Ok(path) => Ok(Destination::Folder(path)),
    }
}

fn worker(mut url: Url, insecure: bool) -> std::result::Result<Destination, InvalidUrl> {
    let invalid = |why: String| Err(InvalidUrl(why));
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        // Not repeated in the message: it may be a secret.
        return invalid(
            "a Worker's URL holds no credentials and no parameters: the token goes into WALFERRY_TOKEN"
                .to_owned(),
        );
    }
    if url.scheme() == "http" && !insecure && !is_loopback(&url) {
        return invalid(format!(
            "{url} would send the token and the data unencrypted: use https://, or --insecure on a network you trust"
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    match path.strip_prefix("/v1/").filter(|name| is_database_name(name)) {
        Some(_) => {
            url.set_path(&path);
            url.set_fragment(None);
            Ok(Destination::Worker(url))
        }
        None => invalid(format!(
            "{url} names no database of a Worker: write https://host/v1/name, the name being 1 to 63 of a-z, 0-9, _ \
             and -, starting with a letter or a digit"
        )),
    }
}

fn is_database_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 63
        && name.bytes().next().is_some_and(alphanumeric)
        && name
            .bytes()
            .all(|byte| alphanumeric(byte) || byte == b'_' || byte == b'-')
}

/// Whether the URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<String, String> {
        Destination::parse(text, false)
            .map(|destination| destination.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn folders_are_absolute_file_urls() {
        assert_eq!(
            Destination::parse("file:///srv/my%20app", false),
            Ok(Destination::Folder("/srv/my app".into()))
        );
        for (text, hint) in [
            ("file://relative/path", "absolute"),
            ("file:relative", "three slashes"),
            ("file:/srv/app", "three slashes"),
            ("file:///", "names no folder"),
            ("file:///a?b", "%3F"),
            ("/srv/app", "file:///srv/app"),
            ("backup", "file:///"),
            ("", "file:///"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(hint), "{text:?}: {error}");
        }
    }

    #[test]
    fn workers_are_https_or_on_this_machine() {
        assert_eq!(
            parse("https://x.dev/v1/app/"),
            Ok("https://x.dev/v1/app".to_owned())
        );
        for local in ["localhost", "127.0.0.1", "[::1]"] {
            parse(&format!("http://{local}:8787/v1/app")).unwrap();
        }
        assert!(Destination::parse("http://10.0.0.1/v1/app", true).is_ok());
        for (text, hint) in [
            ("http://10.0.0.1/v1/app", "--insecure"),
            ("http://localhost.evil.dev/v1/app", "--insecure"),
            ("https://x.dev/", "/v1/name"),
            ("https://x.dev/v1/App", "a-z"),
            ("https://x.dev/v1/a/b", "/v1/name"),
            ("https://me:secret@x.dev/v1/app", "WALFERRY_TOKEN"),
            ("https://x.dev/v1/app?token=secret", "WALFERRY_TOKEN"),
            ("https://", "valid URL"),
            ("s3://bucket/app", "not there yet"),
            ("ftp://host/app", "no kind of destination"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(hint), "{text:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
