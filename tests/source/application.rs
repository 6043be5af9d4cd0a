//! An application: another process that has the database open.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Rows of values as text.
pub(crate) type Rows = Vec<Vec<String>>;

/// A process that runs the SQL it is told; killed when dropped.
pub(crate) struct Application {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Application {
    /// With a connection that never waits for a lock.
    pub(crate) fn open(database: &Path) -> Self {
        Self::start(Command::new("python3"), database)
    }

    /// With a library loaded before all others.
    pub(crate) fn open_preloaded(database: &Path, library: &Path, variable: (&str, &str)) -> Self {
        let mut command = Command::new("python3");
        command.env("LD_PRELOAD", library).env(variable.0, variable.1);
        Self::start(command, database)
    }

    fn start(mut command: Command, database: &Path) -> Self {
        let mut process = command
            .arg(root().join("tests/source/application.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the tests");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut application = Self {
            process,
            input,
            output,
        };
        application
            .request(&json!({ "open": database }))
            .expect("answer")
            .expect("open");
        application
    }

    /// Runs a statement that must succeed.
    pub(crate) fn sql(&mut self, sql: &str) -> Rows {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a statement.
    pub(crate) fn try_sql(&mut self, sql: &str) -> Result<Rows, String> {
        self.send(sql);
        self.answer().expect("the application died")
    }

    /// Runs a statement in which the application dies.
    pub(crate) fn last_sql(mut self, sql: &str) {
        self.send(sql);
        assert!(self.answer().is_none(), "it lives");
        self.process.wait().expect("wait");
    }

    /// Starts a statement; [`answer`](Self::answer) waits for its end.
    pub(crate) fn send(&mut self, sql: &str) {
        writeln!(self.input, "{}", json!({ "sql": sql })).expect("write");
    }

    /// `None` if the application has died.
    pub(crate) fn answer(&mut self) -> Option<Result<Rows, String>> {
        let mut line = String::new();
        if self.output.read_line(&mut line).expect("read") == 0 {
            return None;
        }
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        Some(match answer.get("error") {
            Some(error) => Err(error.as_str().expect("text").to_owned()),
            None => Ok(serde_json::from_value(answer["rows"].clone()).expect("rows")),
        })
    }

    fn request(&mut self, request: &Value) -> Option<Result<Rows, String>> {
        writeln!(self.input, "{request}").expect("write");
        self.answer()
    }

    /// Without closing anything.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A database in a folder of its own.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A new folder.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("folder").join("app.db")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.folder.path().join("app.db-wal")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bytes of the database file, read by a process of its own: closing the file in this one would drop the
    /// locks of the connections.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let output = Command::new("cat").arg(self.database()).output().expect("cat");
        assert!(output.status.success());
        output.stdout
    }

    /// Commits a frame: its number, its page, the size of the database and the two sums after it.
    pub(crate) fn enter_frame(&self, frame: [u32; 5]) {
        let script = root().join("tests/source/wal_index.py");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .arg(self.file("app.db-shm"))
            .args(frame.map(|number| number.to_string()));
        assert!(command.status().expect("python3").success());
    }

    /// Spoils a byte of the wal-index, as a writer killed while it wrote there does; in a process of its own, too.
    pub(crate) fn tear_wal_index(&self, offset: u64) {
        let tear = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); f.write(b'\\xff')";
        let shm = self.file("app.db-shm");
        let status = Command::new("python3")
            .args(["-c", tear])
            .arg(shm)
            .arg(offset.to_string())
            .status();
        assert!(status.expect("python3").success());
    }
}

/// A database with a table `t(a integer primary key, b blob)` and its application, which never checkpoints by itself.
pub(crate) fn database(setup: &str) -> (Place, Application) {
    let place = Place::new();
    let mut application = Application::open(&place.database());
    for statement in setup.split(';').filter(|statement| !statement.trim().is_empty()) {
        application.sql(statement);
    }
    application.sql("pragma journal_mode = wal");
    application.sql("pragma wal_autocheckpoint = 0");
    application.sql("create table t(a integer primary key, b blob)");
    (place, application)
}

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
