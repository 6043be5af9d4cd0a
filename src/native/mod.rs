//! The command line, next to the application.

pub mod cli;
pub mod clock;
pub mod config;
pub mod copy;
pub mod doctor;
pub mod fleet;
pub mod metrics;
pub mod new_file;
pub mod prices;
pub mod replicate;
pub mod restore;
pub mod sqlite;
mod staged;
pub mod status;
pub mod store;
pub mod survey;
pub mod upkeep;
pub mod watch;

pub use cli::main;
