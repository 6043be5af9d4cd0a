//! `walferry reset`

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output;
use crate::native::replicate;

/// Forget the local state of a database
///
/// The next start compares all pages with what the replica holds, and ships those that differ. The replica and the
/// database stay as they are. Not while walferry follows the database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry reset -dry-run /srv/app.db
  walferry reset /srv/app.db")]
pub(super) struct Reset {
    /// The database file
    #[arg(value_name = "DB")]
    database: PathBuf,

    /// Say what would be removed, and leave it
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &Reset) -> Result<(), Failure> {
    // The database may be gone; its state is beside where it was.
    let path = std::path::absolute(&arguments.database).unwrap_or_else(|_| arguments.database.clone());
    let path = path.canonicalize().unwrap_or(path);
    let folder = replicate::local_state(&path);
    let shown = folder.display();
    if !folder.is_dir() {
        return output::text(&format!("there is no local state: {shown} does not exist\n"));
    }
    if arguments.dry_run {
        return output::text(&format!("would remove {shown}\n"));
    }
    replicate::reset(&path)?;
    output::text(&format!("removed {shown}; the next start compares all pages\n"))
}
