//! What the integration tests share: an application that writes, walferry itself, the Worker on workerd.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

pub mod azure;
pub mod fleet;
pub mod litestream;
pub mod proxy;
pub mod running;
pub mod s3;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")),
        )
    }

    pub fn kill(mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        self.wait_for(Duration::from_secs(60))
    }

    pub fn wait_for(&mut self, limit: Duration) -> Option<i32> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait().expect("wait") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the process did not end within {limit:?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A call of the Python application; see `app.py`.
pub fn app(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(project().join("tests/support/app.py"))
        .args(arguments);
    command
}

/// Runs it to its end.
pub fn run_app(arguments: &[&str]) {
    let status = app(arguments).status().expect("python3 is needed for the tests");
    assert!(status.success(), "app.py {arguments:?}: {status}");
}

pub fn walferry() -> Command {
    Command::new(env!("CARGO_BIN_EXE_walferry"))
}

/// `walferry replicate` in the background, its messages on the test's output.
pub fn replicate(database: &Path, destination: &Destination, extra: &[&str]) -> Process {
    let mut command = walferry();
    command
        .arg("replicate")
        .args(extra)
        .arg(database)
        .arg(destination.url());
    destination.authorize(&mut command);
    Process::start(&mut command)
}

/// Restores to `out` and returns what walferry printed.
pub fn restore(destination: &Destination, out: &Path, extra: &[&str]) -> Output {
    let mut command = walferry();
    command
        .arg("restore")
        .args(extra)
        .arg("-o")
        .arg(out)
        .arg(destination.url());
    destination.authorize(&mut command);
    command.output().expect("restore")
}

pub fn restore_ok(destination: &Destination, out: &Path) {
    let output = restore(destination, out, &[]);
    assert!(
        output.status.success(),
        "restore: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// All that a process said.
pub fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// What it printed, as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

/// It ended with this code.
pub fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

/// The bytes of a database but those of its header that a copy that is followed has of its own.
pub fn content(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap_or_default();
    for range in [18..20, 24..32, 92..96] {
        if let Some(own) = bytes.get_mut(range) {
            own.fill(0);
        }
    }
    bytes
}

/// Panics at the first page that differs.
pub fn assert_same_file(source: &Path, restored: &Path, page_size: usize) {
    let (source, restored) = (
        fs::read(source).expect("source"),
        fs::read(restored).expect("restored"),
    );
    for (number, (a, b)) in source
        .chunks(page_size)
        .zip(restored.chunks(page_size))
        .enumerate()
    {
        assert!(a == b, "page {} differs", number + 1);
    }
    assert_eq!(source.len(), restored.len(), "the lengths differ");
}

pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where a test ships to.
pub enum Destination {
    Folder(PathBuf),
    Worker { url: String, token: String },
    S3 { url: String },
}

impl Destination {
    pub fn url(&self) -> String {
        match self {
            Self::Folder(path) => format!("file://{}", path.display()),
            Self::Worker { url, .. } | Self::S3 { url } => url.clone(),
        }
    }

    pub fn authorize(&self, command: &mut Command) {
        match self {
            Self::Folder(_) => {}
            Self::Worker { token, .. } => {
                command.env("WALFERRY_TOKEN", token);
            }
            Self::S3 { .. } => s3::authorize(command),
        }
    }
}

/// The Worker on workerd, with R2 in a folder.
pub struct Worker {
    process: Process,
    pub url: String,
}

impl Worker {
    pub const WRITE_TOKEN: &str = "test-write-token-0123456789abcdef";
    pub const READ_TOKEN: &str = "test-read-token-0123456789abcdef";
    pub const TOKEN_KEY: &str = "test-token-key-0123456789abcdef-0123456789";
    /// Where upkeep is not the question, no window closes while a test runs.
    const QUIET: [(&str, &str); 3] = [
        ("WALFERRY_LEVELS", "7d"),
        ("WALFERRY_HISTORY_WINDOW", "7d"),
        ("WALFERRY_RAW_RETENTION", "7d"),
    ];

    pub fn start(state: &Path) -> Self {
        Self::start_at(state, 0)
    }

    /// At a port; 0 is any that is free.
    pub fn start_at(state: &Path, port: u16) -> Self {
        Self::launch(state, port, &[])
    }

    /// With variables as wrangler.toml would have them.
    pub fn start_with(state: &Path, variables: &[(&str, &str)]) -> Self {
        Self::launch(state, 0, variables)
    }

    /// One whose faults can be asked for.
    pub fn start_with_faults(state: &Path) -> Self {
        Self::run(state, 0, &[], &["--faults"])
    }

    pub fn launch(state: &Path, port: u16, variables: &[(&str, &str)]) -> Self {
        Self::run(state, port, variables, &[])
    }

    fn run(state: &Path, port: u16, variables: &[(&str, &str)], options: &[&str]) -> Self {
        let mut command = Command::new("node");
        command
            .arg(project().join("scripts/worker.mjs"))
            .args(["--port", &port.to_string(), "--state"])
            .arg(state)
            .args(options)
            .envs(Self::QUIET)
            .envs(variables.iter().copied())
            .env("WALFERRY_WRITE_TOKEN", Self::WRITE_TOKEN)
            .env("WALFERRY_READ_TOKEN", Self::READ_TOKEN)
            .env("WALFERRY_TOKEN_KEY", Self::TOKEN_KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command);
        let mut line = String::new();
        let stdout = process.0.stdout.take().expect("stdout");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the Worker prints a line of JSON when it answers");
        let answer: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("not JSON: {line:?}: {error}; is it built?"));
        let url = answer["url"]
            .as_str()
            .expect("url")
            .trim_end_matches('/')
            .to_owned();
        Self { process, url }
    }

    /// Of the process that has started workerd.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub fn database(&self, name: &str) -> Destination {
        Destination::Worker {
            url: format!("{}/v1/{name}", self.url),
            token: Self::WRITE_TOKEN.to_owned(),
        }
    }
}
