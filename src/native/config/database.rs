//! One database, or one folder of databases, as a configuration describes it.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::foreign;
use super::paths;
use super::problem::Place;
use super::replica::{Replica, Settings};
use super::section::{Reader, Section};
use super::tree::Node;
use super::values;

/// A database that is to be followed.
#[derive(Clone, Debug)]
pub struct Database {
    /// The file.
    pub path: PathBuf,
    /// How it is treated.
    pub treatment: Treatment,
    /// Where it goes.
    pub replicas: Vec<Replica>,
    /// Where the configuration says so.
    pub(super) place: Place,
}

/// A folder whose databases are to be followed.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// Names of the files that are databases.
    pub pattern: GlobMatcher,
    /// Whether folders within it count.
    pub recursive: bool,
    /// Whether files that come and go are followed and let go.
    pub watch: bool,
    /// What each of its databases has.
    template: Database,
}

/// How a database is treated.
#[derive(Clone, Debug, Default)]
pub struct Treatment {
    /// Switch it to WAL mode if it is not.
    pub set_wal: bool,
    /// How long its WAL may get, in bytes.
    pub wal_limit: Option<u64>,
    /// From how many frames on the WAL is copied back.
    pub checkpoint_frames: Option<u32>,
    /// Where the local state goes, if not beside the database.
    pub state: Option<State>,
    /// Restore it before it is followed, if there is none.
    pub restore_if_missing: bool,
}

/// Where local state goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The state of this database.
    Here(PathBuf),
    /// A folder for the states of many.
    Within(PathBuf),
}

/// An item of `dbs`.
pub(super) enum Item {
    Database(Database),
    Folder(Folder),
}

impl Database {
    /// With the usual treatment.
    pub fn new(path: PathBuf, replicas: Vec<Replica>) -> Self {
        Self {
            path,
            treatment: Treatment::default(),
            replicas,
            place: Place::default(),
        }
    }
}

impl Folder {
    /// The database that a file of the folder is. An error where it has no place to go.
    pub fn database(&self, file: &Path) -> Result<Database, String> {
        let relative = file.strip_prefix(&self.path).unwrap_or(file);
        let name = relative
            .to_str()
            .ok_or_else(|| format!("{relative:?} is not UTF-8: it cannot be the name of a replica"))?;
        let mut database = Database {
            path: file.to_owned(),
            replicas: Vec::new(),
            ..self.template.clone()
        };
        if let Some(State::Here(path)) = &mut database.treatment.state {
            path.push(name);
        }
        for replica in &self.template.replicas {
            database.replicas.push(replica.below(name)?);
        }
        Ok(database)
    }

    /// The replicas of the folder, below which those of its databases are.
    pub fn replicas(&self) -> &[Replica] {
        &self.template.replicas
    }
}

impl Treatment {
    /// The folder of the local state of a database.
    pub fn state_of(&self, database: &Path) -> Option<PathBuf> {
        Some(match self.state.as_ref()? {
            State::Here(path) => path.clone(),
            // One name a path, whatever the path.
            State::Within(folder) => {
                let path = database.to_string_lossy();
                let name = path
                    .trim_start_matches('/')
                    .replace('%', "%25")
                    .replace('/', "%2F");
                folder.join(format!("{name}-walferry"))
            }
        })
    }
}

impl Item {
    /// `None`, and a complaint, if it is not said which database and where it goes.
    pub(super) fn read(reader: &Reader<'_>, node: &Node, outer: &Settings) -> Option<Self> {
        let mut section = Section::of(reader, "a database", node)?;
        let place = section.place;
        let path = section.text_at("path");
        let folder = section.text_at("dir");
        let pattern = section.value("pattern", glob);
        let recursive = section.value("recursive", values::flag);
        let watch = section.value("watch", values::flag);
        let mut own = Settings::default();
        own.read_snapshot(&mut section);
        let settings = own.or(outer);
        let treatment = Treatment::read(&mut section);
        let replicas = replicas(reader, &mut section, &settings);
        let has_pattern = section.node("pattern").is_some();
        section.finish(foreign::DATABASE);

        let absolute = |(text, place): (String, Place)| {
            let path = paths::absolute(&text);
            path.map_err(|why| reader.problem(place, why))
                .ok()
                .map(|path| paths::real(&path))
        };
        let problem = |message: &str| {
            reader.problem(place, message);
            None
        };
        let database = Database {
            path: PathBuf::new(),
            treatment,
            replicas: replicas?,
            place,
        };
        match (path, folder) {
            (Some(path), None) => {
                if has_pattern || recursive.is_some() || watch.is_some() {
                    return problem("pattern, recursive and watch go with dir, not with path");
                }
                let path = absolute(path)?;
                Some(Self::Database(Database { path, ..database }))
            }
            (None, Some(folder)) => {
                let Some(pattern) = pattern else {
                    // One that cannot be read was complained of.
                    return if has_pattern {
                        None
                    } else {
                        problem("dir needs a pattern, \"*.db\" for instance")
                    };
                };
                Some(Self::Folder(Folder {
                    path: absolute(folder)?,
                    pattern,
                    recursive: recursive.unwrap_or_default(),
                    watch: watch.unwrap_or_default(),
                    template: database,
                }))
            }
            (None, None) => {
                problem("a database needs a path, or dir and pattern for all that are in a folder")
            }
            (Some(_), Some(_)) => problem("path is one database and dir is many: write two items"),
        }
    }
}

impl Treatment {
    fn read(section: &mut Section<'_>) -> Self {
        let absolute = |text: &str| paths::absolute(text);
        let here = section.value("meta-path", absolute).map(State::Here);
        let within = section.value("meta-dir", absolute).map(State::Within);
        Self {
            set_wal: section.value("set-wal", values::flag).unwrap_or_default(),
            wal_limit: section.value("wal-limit", values::size),
            checkpoint_frames: section.value("min-checkpoint-page-count", |text| {
                values::number(text, 1, u64::from(u32::MAX)).map(|pages| pages as u32)
            }),
            state: here.or(within),
            restore_if_missing: section
                .value("restore-if-db-not-exists", values::flag)
                .unwrap_or_default(),
        }
    }
}

/// `replica`, or the list `replicas`.
fn replicas(reader: &Reader<'_>, section: &mut Section<'_>, settings: &Settings) -> Option<Vec<Replica>> {
    let mut nodes = section.list("replicas");
    let one = section.node("replica");
    if let Some(one) = one {
        if !nodes.is_empty() {
            reader.problem(
                one.place,
                "replica and replicas both say where it goes: write them all in replicas",
            );
            return None;
        }
        nodes.push(one);
    }
    if nodes.is_empty() {
        reader.problem(section.place, "a database needs a replica: where should it go?");
        return None;
    }
    nodes
        .iter()
        .map(|node| Replica::read(reader, node, settings))
        .collect()
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    if text.contains('/') {
        return Err(
            "it is a pattern of file names, without folders; recursive: true looks into those".to_owned(),
        );
    }
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| error.kind().to_string())
}
