//! One replica, as a configuration describes it.

use std::time::Duration;

use super::bucket::Bucket;
use super::foreign;
use super::paths;
use super::problem::Place;
use super::section::{Reader, Section};
use super::tree::Node;
use super::values;
use crate::ltx::Codec;
use crate::native::store::{Access, Destination};
use crate::replica::Policy;

/// A replica that is to be filled.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Where.
    pub destination: Destination,
    /// What the destination wants to know of us.
    pub access: Access,
    /// How pages are packed.
    pub codec: Codec,
    /// Under load, one segment in this time.
    pub sync_interval: Duration,
    /// What is merged, kept and deleted.
    pub policy: Policy,
    /// How often it is restored to see whether that works.
    pub verify_interval: Option<Duration>,
    /// Where the configuration says so.
    pub(super) place: Place,
}

/// What can be said of one replica, of all of a database, or of all.
#[derive(Clone, Default)]
pub(super) struct Settings {
    sync_interval: Option<Duration>,
    codec: Option<Codec>,
    pub(super) retention: Option<Duration>,
    pub(super) retention_enabled: Option<bool>,
    pub(super) snapshot_interval: Option<Duration>,
    pub(super) levels: Option<Vec<Duration>>,
    pub(super) raw_retention: Option<Duration>,
    history_window: Option<Duration>,
    verify_interval: Option<Duration>,
    insecure: Option<bool>,
    token: Option<String>,
    bucket: Bucket,
}

impl Settings {
    /// Takes from a section what it says of replicas, but `retention` and `snapshot`: those mean more in some places.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            sync_interval: section.value("sync-interval", values::interval),
            codec: section.value("codec", |text| text.parse()),
            snapshot_interval: section.value("snapshot-interval", values::interval),
            history_window: section.value("history-window", values::interval),
            verify_interval: section.value("verify-interval", values::interval),
            insecure: section.value("insecure", values::flag),
            token: section.text("token"),
            bucket: Bucket::read(section),
            ..Self::default()
        }
    }

    /// `snapshot: {interval, retention}`
    pub(super) fn read_snapshot(&mut self, section: &mut Section<'_>) {
        let Some(mut snapshot) = section.section("snapshot", "snapshot") else {
            return;
        };
        self.snapshot_interval = snapshot
            .value("interval", values::interval)
            .or(self.snapshot_interval);
        self.retention = self.retention.or(snapshot.value("retention", values::interval));
        snapshot.finish(&[]);
    }

    /// What is said here, and what is said further out where nothing is said here.
    pub(super) fn or(self, outer: &Self) -> Self {
        let outer = outer.clone();
        Self {
            sync_interval: self.sync_interval.or(outer.sync_interval),
            codec: self.codec.or(outer.codec),
            retention: self.retention.or(outer.retention),
            retention_enabled: self.retention_enabled.or(outer.retention_enabled),
            snapshot_interval: self.snapshot_interval.or(outer.snapshot_interval),
            levels: self.levels.or(outer.levels),
            raw_retention: self.raw_retention.or(outer.raw_retention),
            history_window: self.history_window.or(outer.history_window),
            verify_interval: self.verify_interval.or(outer.verify_interval),
            insecure: self.insecure.or(outer.insecure),
            token: self.token.or(outer.token),
            bucket: self.bucket.or(outer.bucket),
        }
    }

    fn policy(&self) -> Policy {
        let usual = Policy::default();
        Policy {
            levels: self.levels.clone().unwrap_or(usual.levels),
            snapshot_interval: self.snapshot_interval.unwrap_or(usual.snapshot_interval),
            retention: self.retention.unwrap_or(usual.retention),
            retention_enabled: self.retention_enabled.unwrap_or(usual.retention_enabled),
            raw_retention: self.raw_retention.unwrap_or(usual.raw_retention),
            history_window: self.history_window.unwrap_or(usual.history_window),
            ..usual
        }
    }

    /// A replica with these settings.
    pub(super) fn replica(self, destination: Destination, place: Place) -> Replica {
        let access = Access {
            token: self.token.clone().or(Access::from_environment().token),
        };
        Replica {
            codec: self.codec.unwrap_or(destination.default_codec()),
            sync_interval: self.sync_interval.unwrap_or(Duration::from_secs(1)),
            policy: self.policy(),
            verify_interval: self.verify_interval,
            destination,
            access,
            place,
        }
    }

    /// Where it is, by the keys that say so.
    pub(super) fn destination(&self, keys: Keys) -> Result<Destination, (Place, String)> {
        let Keys {
            kind,
            url,
            path,
            place,
        } = keys;
        if let Some((url, at)) = url {
            if let Some((path, at)) = path {
                return Err((
                    at,
                    format!("url and path both say where it is: leave path {path:?} out"),
                ));
            }
            let parsed = Destination::parse(&url, self.insecure.unwrap_or_default());
            let parsed = parsed.map_err(|error| (at, error.to_string()))?;
            if let Some((kind, at)) = kind
                && kind != parsed.kind()
            {
                return Err((
                    at,
                    format!("type {kind} and the url {parsed} do not agree: leave type out"),
                ));
            }
            return self.bucket.complete(parsed).map_err(|why| (at, why));
        }
        if let Some((path, at)) = &path
            && path.contains("://")
        {
            return Err((*at, format!("{path:?} is a URL: write url instead of path")));
        }
        let (kind, at) = kind.unwrap_or(("file".to_owned(), place));
        match kind.as_str() {
            "file" => match path {
                Some((path, at)) => paths::absolute(&path)
                    .map(Destination::Folder)
                    .map_err(|why| (at, why)),
                None => Err((
                    place,
                    "a replica needs a place: a url, or a type with a path or a bucket".to_owned(),
                )),
            },
            "s3" | "gs" | "abs" => {
                let path = path.map(|(path, _)| path).unwrap_or_default();
                self.bucket.place(&kind, &path).map_err(|why| (place, why))
            }
            "worker" => Err((
                at,
                "a Worker's replica is said by its url: https://host/v1/name".to_owned(),
            )),
            "sftp" | "webdav" | "nats" | "oss" => Err((
                at,
                format!(
                    "walferry has no {kind} destinations, as Litestream has: there are s3, gs, abs, file and worker"
                ),
            )),
            _ => Err((
                at,
                format!("type {kind:?} will not do: there are s3, gs, abs, file and worker"),
            )),
        }
    }
}

/// The keys that say where a replica is.
pub(super) struct Keys {
    pub(super) kind: Option<(String, Place)>,
    pub(super) url: Option<(String, Place)>,
    pub(super) path: Option<(String, Place)>,
    /// The replica's own.
    pub(super) place: Place,
}

impl Replica {
    /// With the usual settings.
    pub fn new(destination: Destination) -> Self {
        Settings::default().replica(destination, Place::default())
    }

    /// `None`, and a complaint, if it does not say where it is.
    pub(super) fn read(reader: &Reader<'_>, node: &Node, outer: &Settings) -> Option<Self> {
        let mut section = Section::of(reader, "a replica", node)?;
        let keys = Keys {
            kind: section.text_at("type"),
            url: section.text_at("url"),
            path: section.text_at("path"),
            place: section.place,
        };
        // Litestream's old name for a replica; nothing needs one.
        section.text("name");
        let mut own = Settings::read(&mut section);
        own.retention = section.value("retention", values::interval);
        own.read_snapshot(&mut section);
        let place = section.place;
        section.finish(foreign::REPLICA);
        let settings = own.or(outer);
        match settings.destination(keys) {
            Ok(destination) => Some(settings.replica(destination, place)),
            Err((place, why)) => {
                reader.problem(place, why);
                None
            }
        }
    }

    /// The replica of a file in a folder of databases: below the folder's own.
    pub(super) fn below(&self, relative: &str) -> Result<Self, String> {
        Ok(Self {
            destination: paths::below(&self.destination, relative)?,
            ..self.clone()
        })
    }
}
