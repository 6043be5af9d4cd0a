//! A real S3 server on this machine, its buckets in a folder: `s3s-fs`.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Destination, Process, project, wait_until};

/// The server; it ends with the test.
pub struct S3 {
    process: Option<Process>,
    root: PathBuf,
    open: bool,
    pub port: u16,
}

impl S3 {
    pub const KEY: &str = "walferrytest";
    pub const SECRET: &str = "walferrysecret0123456789";
    pub const BUCKET: &str = "backups";

    /// With one bucket in `root`.
    pub fn start(root: &Path) -> Self {
        Self::start_for(root, false)
    }

    /// For anyone, without keys.
    pub fn start_open(root: &Path) -> Self {
        Self::start_for(root, true)
    }

    fn start_for(root: &Path, open: bool) -> Self {
        fs::create_dir_all(root.join(Self::BUCKET)).expect("a bucket is a folder");
        let mut server = Self {
            process: None,
            root: root.into(),
            open,
            port: free_port(),
        };
        server.go_on();
        server
    }

    /// Starts again after [`stop`](Self::stop), at the same address.
    pub fn go_on(&mut self) {
        let program = std::env::var_os("S3S_FS").map_or_else(
            || project().join(".tools/s3s-fs-0.14.1/bin/s3s-fs"),
            PathBuf::from,
        );
        let mut command = Command::new(&program);
        command
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .arg(&self.root)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !self.open {
            command.args(["--access-key", Self::KEY, "--secret-key", Self::SECRET]);
        }
        assert!(
            program.exists(),
            "{} is missing: run `node scripts/setup.mjs --tests`",
            program.display()
        );
        self.process = Some(Process::start(&mut command));
        wait_until("the S3 server to answer", Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A replica at this server.
    pub fn replica(&self, path: &str) -> Destination {
        replica_at(self.port, path)
    }

    /// The folder of a bucket.
    pub fn folder(&self) -> PathBuf {
        self.root.join(Self::BUCKET)
    }

    /// Every object below a path, by its key below it.
    pub fn objects(&self, path: &str) -> Vec<String> {
        fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    walk(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.push(name);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.folder().join(path), "", &mut found);
        found.sort();
        found
    }
}

/// A replica at a server, or at a proxy before it.
pub fn replica_at(port: u16, path: &str) -> Destination {
    let url = format!("s3://{}/{path}?endpoint=http://127.0.0.1:{port}", S3::BUCKET);
    Destination::S3 { url }
}

/// Gives a command the server's keys, and nothing else of this machine's.
pub fn authorize(command: &mut Command) {
    for name in [
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_CA_BUNDLE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ] {
        command.env_remove(name);
    }
    command
        .env("AWS_ACCESS_KEY_ID", S3::KEY)
        .env("AWS_SECRET_ACCESS_KEY", S3::SECRET);
}

/// Below those that the system gives to connections: nobody gets it while a server is away.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(101);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST)
        .map(|port| u16::try_from(port).expect("a port"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
