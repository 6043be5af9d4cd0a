//! placeholder
pub mod replicate;
pub mod sqlite;
pub mod watch;

pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
