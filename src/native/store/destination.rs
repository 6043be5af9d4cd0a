//! Where a replica is: the URL on the command line.

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use reqwest::Url;

use super::bucket::{AbsSettings, Bucket, BucketStore, GsSettings, S3Settings, url as bucket_url};
use super::http::Http;
use super::{Counted, FolderStore, Keys, Live, Meter, WorkerStore};
use crate::ltx::Codec;
use crate::replica::{Layout, Level};
use crate::store::{Error, Result};

/// A replica's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `file:///absolute/path`
    Folder(PathBuf),
    /// `https://host/v1/name`
    Worker(Url),
    /// `s3://bucket/path`
    S3(S3Settings),
    /// `gs://bucket/path`
    Gs(GsSettings),
    /// `abs://account@container/path`
    Abs(AbsSettings),
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

impl InvalidUrl {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// How the URLs of all kinds are written.
const FORMS: &str = "s3://bucket/path, gs://bucket/path, abs://account@container/path, file:///path/of/the/replica or \
    https://host/v1/name";

impl Destination {
    /// Reads a URL. Plain `http` sends the token and the data in the clear: it is for this machine, unless
    /// `insecure` allows it.
    pub fn parse(text: &str, insecure: bool) -> std::result::Result<Self, InvalidUrl> {
        let invalid = |why: String| Err(InvalidUrl(why));
        // Names of buckets and access points need not be hosts.
        match text.split_once("://") {
            Some(("s3", _)) => return bucket_url::s3(text).map(Self::S3),
            Some(("gs", _)) => return bucket_url::gs(text).map(Self::Gs),
            Some(("abs", _)) => return bucket_url::abs(text).map(Self::Abs),
            _ => {}
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(_) if text.contains("://") => {
                return invalid(format!("{text:?} is not a valid URL: write {FORMS}"));
            }
            Err(_) => return invalid(plain_path(text)),
        };
        match url.scheme() {
            "file" => folder(text, &url),
            "http" | "https" => worker(url, insecure),
            scheme @ ("oss" | "sftp" | "webdav" | "webdavs" | "nats") => invalid(format!(
                "walferry has no {scheme}:// destinations, as Litestream has: use {FORMS}"
            )),
            // A Windows path, or a name with a colon.
            _ if !text.contains("://") => invalid(plain_path(text)),
            scheme => invalid(format!("{scheme}:// is no kind of destination: use {FORMS}")),
        }
    }

    /// The way to its objects, with the count of what is asked of it. No request is made yet.
    pub fn open(&self, access: &Access) -> Result<Rc<Counted>> {
        let bucket = match self {
            Self::Folder(path) => return Ok(Rc::new(Counted::operations(FolderStore::new(path)))),
            Self::Worker(url) => {
                let meter = Meter::new();
                let store = WorkerStore::new(url.clone(), access.token.as_deref(), Arc::clone(&meter))?;
                return Ok(Rc::new(Counted::requests(store, meter)));
            }
            Self::S3(settings) => Bucket::S3(settings.clone()),
            Self::Gs(settings) => Bucket::Gs(settings.clone()),
            Self::Abs(settings) => Bucket::Abs(settings.clone()),
        };
        let meter = Meter::new();
        Ok(Rc::new(Counted::requests(
            BucketStore::new(bucket, Arc::clone(&meter)),
            meter,
        )))
    }

    /// What it tells as it happens, where it does: only a Worker.
    pub fn live(&self, access: &Access) -> Result<Option<Live>> {
        let Self::Worker(url) = self else {
            return Ok(None);
        };
        Http::new(url.clone(), access.token.as_deref(), Meter::new()).map(|http| Some(Live::new(http)))
    }

    /// The way to all that lies there, whoever wrote it; a Worker holds only what it knows.
    pub fn keys(&self) -> Option<Keys> {
        let bucket = match self {
            Self::Folder(path) => return Some(Keys::folder(path.clone())),
            Self::Worker(_) => return None,
            Self::S3(settings) => Bucket::S3(settings.clone()),
            Self::Gs(settings) => Bucket::Gs(settings.clone()),
            Self::Abs(settings) => Bucket::Abs(settings.clone()),
        };
        Some(Keys::bucket(BucketStore::new(bucket, Meter::new())))
    }

    /// Its kind in a word: `file`, `worker`, `s3`, `gs` or `abs`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Folder(_) => "file",
            Self::Worker(_) => "worker",
            Self::S3(_) => "s3",
            Self::Gs(_) => "gs",
            Self::Abs(_) => "abs",
        }
    }

    /// Whether both name the same objects, however they are reached: two databases must not share them.
    pub fn same_place(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    /// Whether the objects of the other lie within the folders of this one's levels: it would take them for its own.
    pub fn contains(&self, other: &Self) -> bool {
        let ((host, path), (other_host, other_path)) = (self.place(), other.place());
        let below = match other_path.strip_prefix(&path) {
            Some(below) if path.is_empty() => below,
            Some(below) if below.starts_with('/') => below.trim_start_matches('/'),
            _ => return false,
        };
        let levels = Level::all().chain(Level::shelves());
        host == other_host
            && levels.map(|level| self.layout().prefix(level)).any(|prefix| {
                let prefix = prefix.trim_end_matches('/');
                below
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    fn layout(&self) -> Layout {
        match self {
            Self::S3(_) | Self::Worker(_) => Layout::Bucket,
            Self::Folder(_) | Self::Gs(_) | Self::Abs(_) => Layout::Folder,
        }
    }

    /// What holds the objects, and what their keys start with: equal where both are, and only there.
    pub fn place(&self) -> (String, String) {
        match self {
            Self::Folder(path) => {
                // What is not there yet has a folder that is.
                let mut real = path.canonicalize();
                if let (Err(_), Some(parent), Some(name)) = (&real, path.parent(), path.file_name()) {
                    real = parent.canonicalize().map(|parent| parent.join(name));
                }
                let path = real.unwrap_or_else(|_| path.clone());
                ("file".to_owned(), path.to_string_lossy().into_owned())
            }
            Self::Worker(url) => (url.origin().ascii_serialization(), url.path().to_owned()),
            Self::S3(settings) => {
                let host = match &settings.endpoint {
                    Some(endpoint) => endpoint
                        .split_once("://")
                        .map_or(endpoint.as_str(), |(_, host)| host),
                    None => "aws",
                };
                (
                    format!("s3 {} {}", host.to_ascii_lowercase(), settings.bucket),
                    settings.path.clone(),
                )
            }
            Self::Gs(settings) => (format!("gs {}", settings.bucket), settings.path.clone()),
            Self::Abs(settings) => {
                let account = settings.account.as_deref().unwrap_or_default();
                (
                    format!("abs {account} {}", settings.container),
                    settings.path.clone(),
                )
            }
        }
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

    /// What pages are packed with unless the user says otherwise. Folders and buckets stay readable by Litestream; what a
    /// Worker holds goes to browsers, where fewer bytes count.
    pub fn default_codec(&self) -> Codec {
        match self {
            Self::Folder(_) | Self::S3(_) | Self::Gs(_) | Self::Abs(_) => Codec::Lz4,
            Self::Worker(_) => Codec::Deflate,
        }
    }
}

/// A URL that leads there again, without secrets.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::Worker(url) => f.write_str(url.as_str()),
            Self::S3(settings) => {
                write!(
                    f,
                    "s3://{}{}",
                    settings.bucket,
                    bucket_url::encoded(&settings.path)
                )?;
                match &settings.endpoint {
                    Some(endpoint) => write!(f, "?endpoint={endpoint}"),
                    None => Ok(()),
                }
            }
            Self::Gs(settings) => write!(
                f,
                "gs://{}{}",
                settings.bucket,
                bucket_url::encoded(&settings.path)
            ),
            Self::Abs(settings) => {
                f.write_str("abs://")?;
                if let Some(account) = &settings.account {
                    write!(f, "{account}@")?;
                }
                write!(f, "{}{}", settings.container, bucket_url::encoded(&settings.path))
            }
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
        return format!("the URL is empty: write {FORMS}");
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
            ("sftp://host/app", "s3://bucket/path"),
            ("ftp://host/app", "no kind of destination"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(hint), "{text:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn buckets_show_without_secrets_and_lead_back() {
        for text in [
            "s3://b/app",
            "s3://b",
            "s3://b/my%20app?endpoint=http://localhost:9000",
            "gs://b/app",
            "abs://acct@c/app",
            "abs://c/app",
        ] {
            assert_eq!(parse(text), Ok(text.to_owned()));
        }
        let mut settings = S3Settings {
            bucket: "b".to_owned(),
            ..S3Settings::default()
        };
        settings.secret_access_key = Some(crate::native::store::Secret::new("geheim"));
        let destination = Destination::S3(settings);
        assert!(!format!("{destination} {destination:?}").contains("geheim"));
    }

    #[test]
    fn the_same_place_is_known_under_other_names() {
        let at = |text: &str| Destination::parse(text, false).unwrap();
        let same = |a: &str, b: &str| at(a).same_place(&at(b));
        assert!(same("s3://b/app", "s3://b.s3.eu-west-1.amazonaws.com/app/"));
        assert!(same(
            "s3://b/app?endpoint=https://X.dev",
            "s3://b/app?endpoint=http://x.dev&region=r"
        ));
        assert!(!same("s3://b/app", "s3://b/app?endpoint=https://x.dev"));
        assert!(!same("s3://b/app", "s3://b/app2"));
        assert!(!same("s3://b/app", "gs://b/app"));
        assert!(same("https://x.dev/v1/app", "https://x.dev/v1/app/"));
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let (a, b) = (folder.path().join("replica"), link.join("replica"));
        assert!(Destination::Folder(a).same_place(&Destination::Folder(b)));

        let within = |a: &str, b: &str| at(a).contains(&at(b));
        assert!(within("s3://b/app", "s3://b/app/0000"));
        assert!(within("s3://b", "s3://b/000a/x"));
        assert!(!within("s3://b/app", "s3://b/app/other"));
        assert!(!within("s3://b/app", "s3://b/app"));
        assert!(!within("s3://b", "s3://b/other"));
        assert!(within("file:///srv/a", "file:///srv/a/ltx/0"));
        assert!(!within("file:///srv/a", "file:///srv/a/b"));
    }
}
