//! The Azure Blob Storage server of Microsoft's that runs on a developer's machine: Azurite.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::s3::free_port;
use super::{Process, project, wait_until};

/// The server; it ends with the test.
pub struct Azure {
    _process: Process,
    pub port: u16,
}

impl Azure {
    /// The account that every Azurite has, and its key, which is no secret.
    pub const ACCOUNT: &str = "devstoreaccount1";
    pub const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    pub const CONTAINER: &str = "backups";

    /// With one container, its blobs in `root`.
    pub fn start(root: &Path) -> Self {
        let folder = std::env::var_os("AZURITE")
            .map_or_else(|| project().join(".tools/azurite-3.34.0"), PathBuf::from);
        let program = folder.join("node_modules/.bin/azurite-blob");
        assert!(
            program.exists(),
            "{} is missing: run `node scripts/setup.mjs --tests`",
            program.display()
        );
        let port = free_port();
        let mut command = Command::new("node");
        command
            .arg(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args([
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--silent",
                "--location",
            ])
            .arg(root)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(&mut command);
        wait_until("Azurite to answer", Duration::from_secs(60), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let server = Self {
            _process: process,
            port,
        };
        server.create_container();
        server
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, Self::ACCOUNT)
    }

    /// A replica of a database, as a configuration has it.
    pub fn config(&self, database: &Path, path: &str) -> String {
        format!(
            "dbs:\n  - path: {}\n    replicas:\n      - type: abs\n        account-name: {}\n        account-key: {}\n        \
             bucket: {}\n        path: {path}\n        endpoint: {}\n",
            database.display(),
            Self::ACCOUNT,
            Self::KEY,
            Self::CONTAINER,
            self.endpoint()
        )
    }

    /// What only the account's owner does: <https://learn.microsoft.com/rest/api/storageservices/create-container>.
    fn create_container(&self) {
        let (account, container) = (Self::ACCOUNT, Self::CONTAINER);
        let date = jiff::Timestamp::now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        let version = "2021-08-06";
        let signed = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{account}/{account}/{container}\nrestype:container"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64.decode(Self::KEY).unwrap()).unwrap();
        mac.update(signed.as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let status = runtime.unwrap().block_on(async {
            let request = reqwest::Client::new()
                .put(format!("{}/{container}?restype=container", self.endpoint()))
                .header("x-ms-date", date)
                .header("x-ms-version", version)
                .header("Content-Length", "0")
                .header("Authorization", format!("SharedKey {account}:{signature}"));
            request.send().await.unwrap().status()
        });
        assert_eq!(status.as_u16(), 201);
    }
}
