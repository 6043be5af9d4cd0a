//! The configuration file: Litestream's YAML, read strictly.
//!
//! What Litestream's documentation says works here. What would be passed over there, a mistyped key, is refused here
//! with its place and the key that was probably meant; what Litestream acts on and walferry does not is said.
//!
//! ```text
//! text ──tree──▶ nodes with places ──section──▶ keys, values, expanded variables ──▶ Config
//! ```

mod bucket;
mod database;
mod defaults;
mod expand;
mod foreign;
mod logging;
mod paths;
mod problem;
mod replica;
mod section;
mod tree;
pub(crate) mod values;

pub use database::{Database, Folder, State, Treatment};
pub use defaults::{Defaults, real_path};
pub use logging::Logging;
pub use problem::{Error, Place, Problem};
pub use replica::Replica;
pub use section::Variables;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use database::Item;
use replica::Settings;
use section::{Reader, Section};

use super::metrics::{Address, Pulse};

/// Where a configuration is looked for if none is named.
pub const DEFAULT_PATHS: [&str; 2] = ["/etc/walferry.yml", "/etc/litestream.yml"];
/// Where the control socket is unless said otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/walferry.sock";

/// What a configuration file says.
#[derive(Debug)]
pub struct Config {
    /// The file.
    pub file: PathBuf,
    /// Single databases.
    pub databases: Vec<Database>,
    /// Folders of databases.
    pub folders: Vec<Folder>,
    /// Where metrics are served.
    pub addr: Option<Address>,
    /// Who is told regularly that all is well.
    pub heartbeat: Option<Pulse>,
    /// Where commands are taken.
    pub socket: Option<Socket>,
    /// An application to start, in its words.
    pub exec: Option<Vec<String>>,
    /// How messages are written.
    pub logging: Logging,
    /// How long a shutdown waits for the replicas.
    pub shutdown_timeout: Duration,
    /// What a database has that is named later.
    pub defaults: Defaults,
    /// What works otherwise than the file may suggest.
    pub warnings: Vec<Problem>,
}

/// A control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Where.
    pub path: PathBuf,
    /// Who may use it, as file permissions.
    pub permissions: u32,
}

impl Config {
    /// Reads the file at `path`, or the first of the usual ones that is there.
    pub fn load(path: Option<&Path>, expand: bool) -> Result<Self, Error> {
        let usual: Vec<PathBuf> = DEFAULT_PATHS.map(PathBuf::from).into();
        let Some(path) = path.or_else(|| usual.iter().map(PathBuf::as_path).find(|path| path.exists()))
        else {
            return Err(Error::Missing(usual));
        };
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        if expand {
            Self::parse(path, &text, Some(&from_environment))
        } else {
            Self::parse(path, &text, None)
        }
    }

    /// Reads a text; `file` names it in messages. Variables are expanded by `variable`, or not at all.
    pub fn parse(file: &Path, text: &str, variable: Option<Variables<'_>>) -> Result<Self, Error> {
        let wrong = |problems| Error::Wrong {
            file: file.to_owned(),
            problems,
        };
        let nothing = || {
            Problem::new(
                Place { line: 1, column: 1 },
                "there is nothing in it: it needs dbs",
            )
        };
        let root = tree::parse(text).and_then(|root| root.ok_or_else(nothing));
        let root = root.map_err(|problem| wrong(vec![problem]))?;
        let reader = Reader::new(variable);
        let config = Self::read(&reader, &root, file);
        let (problems, warnings) = reader.into_findings();
        match config {
            Some(config) if problems.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(wrong(problems)),
        }
    }

    fn read(reader: &Reader<'_>, root: &tree::Node, file: &Path) -> Option<Self> {
        let mut section = Section::of(reader, "the configuration", root)?;
        let settings = global_settings(reader, &mut section);
        let mut config = Self {
            file: file.to_owned(),
            databases: Vec::new(),
            folders: Vec::new(),
            addr: section.value("addr", str::parse),
            heartbeat: heartbeat(&mut section),
            socket: section.section("socket", "socket").and_then(Socket::read),
            exec: section.value("exec", words),
            logging: section
                .section("logging", "logging")
                .map(Logging::read)
                .unwrap_or_default(),
            shutdown_timeout: section
                .value("shutdown-sync-timeout", values::duration)
                .unwrap_or(Duration::from_secs(30)),
            defaults: Defaults(settings.clone()),
            warnings: Vec::new(),
        };
        for node in section.list("dbs") {
            match Item::read(reader, &node, &settings) {
                Some(Item::Database(database)) => config.databases.push(database),
                Some(Item::Folder(folder)) => config.folders.push(folder),
                None => {}
            }
        }
        section.finish(&all_of(&[foreign::GLOBAL, foreign::REPLICA]));
        config.refuse_collisions(reader);
        Some(config)
    }

    /// No database twice, and no place for two replicas: each would destroy the other's.
    fn refuse_collisions(&self, reader: &Reader<'_>) {
        let mut seen: HashMap<&Path, Place> = HashMap::new();
        let databases = self
            .databases
            .iter()
            .map(|database| (&database.path, database.place));
        for (path, place) in databases {
            if let Some(first) = seen.insert(path, place) {
                let path = path.display();
                reader.problem(
                    place,
                    format!("the database {path} is there already, in line {}", first.line),
                );
            }
        }
        let named = |database: &Database| database.path.display().to_string();
        let of_databases = self.databases.iter().flat_map(|database| {
            database
                .replicas
                .iter()
                .map(move |replica| (named(database), replica))
        });
        let of_folders = self.folders.iter().flat_map(|folder| {
            folder
                .replicas()
                .iter()
                .map(|replica| (folder.path.display().to_string(), replica))
        });
        let replicas: Vec<(String, &Replica)> = of_databases.chain(of_folders).collect();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        for (index, (path, replica)) in replicas.iter().enumerate() {
            let own = &replica.destination;
            let place = own.place();
            if let Some((other, first)) = places.get(&place).and_then(|first| replicas.get(*first)) {
                reader.problem(
                    replica.place,
                    format!(
                        "{own} would hold {path} and is for {other} already (line {}): give every database, and every \
                         replica, a place of its own",
                        first.place.line
                    ),
                );
            } else {
                places.insert(place, index);
            }
        }
        for ((host, below), index) in &places {
            let mut above = below.as_str();
            while !above.is_empty() {
                above = above.rsplit_once('/').map_or("", |(above, _)| above);
                let outer = places.get(&(host.clone(), above.to_owned()));
                let outer = outer.and_then(|outer| replicas.get(*outer));
                let (Some((outer_path, outer)), Some((path, inner))) = (outer, replicas.get(*index)) else {
                    continue;
                };
                if outer.destination.contains(&inner.destination) {
                    reader.problem(
                        outer.place.max(inner.place),
                        format!(
                            "{} for {path} lies within {} for {outer_path} (line {}): give each a place of its own",
                            inner.destination,
                            outer.destination,
                            outer.place.min(inner.place).line
                        ),
                    );
                }
            }
        }
    }
}

impl Socket {
    /// `None` where it is not wanted.
    fn read(mut section: Section<'_>) -> Option<Self> {
        let enabled = section.value("enabled", values::flag).unwrap_or_default();
        let path = section.value("path", paths::absolute);
        let permissions = section.value("permissions", permissions);
        section.finish(&[]);
        enabled.then(|| Self {
            path: path.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            permissions: permissions.unwrap_or(0o600),
        })
    }
}

fn heartbeat(section: &mut Section<'_>) -> Option<Pulse> {
    let url = section.value("heartbeat-url", values::web_address);
    let interval = section.value("heartbeat-interval", values::interval);
    Some(Pulse {
        url: url?,
        interval: interval.unwrap_or(Duration::from_secs(300)),
    })
}

/// What all replicas have unless they say otherwise.
fn global_settings(reader: &Reader<'_>, section: &mut Section<'_>) -> Settings {
    let mut settings = Settings::read(section);
    // Once a time, now also whether anything is deleted.
    match section.node("retention") {
        Some(node) if matches!(node.value, tree::Value::Mapping(_)) => {
            if let Some(mut retention) = section.section("retention", "retention") {
                settings.retention_enabled = retention.value("enabled", values::flag);
                retention.finish(&[]);
            }
        }
        _ => settings.retention = section.value("retention", values::interval),
    }
    settings.read_snapshot(section);
    settings.raw_retention = section.value("l0-retention", values::interval);
    let place = section.place_of("levels");
    let mut levels = Vec::new();
    for node in section.list("levels") {
        let Some(mut level) = Section::of(reader, "a level", &node) else {
            continue;
        };
        match level.value("interval", values::interval) {
            Some(interval) => levels.push(interval),
            None if level.node("interval").is_none() => {
                reader.problem(level.place, "a level needs an interval")
            }
            None => {}
        }
        level.finish(&[]);
    }
    if levels.len() > 8 {
        reader.problem(place, "there are at most 8 levels");
    }
    if !levels.is_sorted_by(|shorter, longer| shorter < longer) {
        reader.problem(place, "every level's interval is longer than the one before it");
    }
    settings.levels = (!levels.is_empty()).then_some(levels);
    settings
}

fn all_of(tables: &[&'static [foreign::Foreign]]) -> Vec<foreign::Foreign> {
    tables.concat()
}

fn words(text: &str) -> Result<Vec<String>, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("it names no program".to_owned()),
        Ok(words) => Ok(words),
        Err(_) => Err("a quote is not closed".to_owned()),
    }
}

/// `0600`, in octal as chmod takes it.
fn permissions(text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches("0o");
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "it is written 0600, as for chmod".to_owned())
}

/// The environment, as Litestream has it.
fn from_environment(name: &str) -> Option<String> {
    match name {
        "PID" => Some(std::process::id().to_string()),
        _ => std::env::var(name).ok(),
    }
}
