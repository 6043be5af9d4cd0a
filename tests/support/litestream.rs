//! The real Litestream, in the versions that matter.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::s3::authorize;
use super::{Destination, project};

/// A call of a version, with the keys of the test's S3 server. It ends at once where `AWS_CA_BUNDLE` is set.
pub fn litestream(version: &str) -> Command {
    let named = std::env::var_os(format!("LITESTREAM_{}", version.replace('.', "_")));
    let program = named.map_or_else(
        || project().join(format!(".tools/litestream-{version}/litestream")),
        PathBuf::from,
    );
    assert!(
        program.exists(),
        "{} is missing: run `node scripts/setup.mjs --tests`",
        program.display()
    );
    let mut command = Command::new(program);
    authorize(&mut command);
    command.env("AWS_REGION", "us-east-1");
    command
}

/// Restores to `out` and returns what it printed.
pub fn litestream_restore(version: &str, from: &Destination, out: &Path, extra: &[&str]) -> Output {
    let url = match from {
        Destination::S3 { url } => format!("{url}&forcePathStyle=true&region=us-east-1"),
        other => other.url(),
    };
    let mut command = litestream(version);
    command.arg("restore").args(extra).arg("-o").arg(out).arg(url);
    command.output().unwrap()
}
