//! The configuration file of a command.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::native::config::Config;

/// Which configuration file.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Take the values in it as they are: $NAME stands for nothing else
    #[arg(long)]
    pub(super) no_expand_env: bool,
}

/// Where the environment names it.
const VARIABLES: [&str; 2] = ["WALFERRY_CONFIG", "LITESTREAM_CONFIG"];

impl ConfigFile {
    /// Reads it: the one that is named, by option or by the environment, or that of the system.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let named = || {
            VARIABLES
                .iter()
                .find_map(std::env::var_os)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let path = self.config.clone().or_else(named);
        Ok(Config::load(path.as_deref(), !self.no_expand_env)?)
    }
}
