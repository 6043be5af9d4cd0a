//! The configuration file of a command.

use std::path::PathBuf;

use super::args::ConfigFile;
use super::failure::Failure;
use crate::native::config::Config;

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
