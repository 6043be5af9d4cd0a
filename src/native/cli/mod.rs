//! The command line: arguments in, exit code out. What each command does is elsewhere.

mod args;
mod completions;
mod config_file;
mod control_socket;
mod copy;
mod databases;
mod doctor;
mod exec;
mod failure;
mod info;
mod list;
mod live;
mod log_lines;
mod logging;
mod ltx;
mod man;
mod output;
mod progress;
mod replicate;
mod reset;
mod restore;
mod signals;
mod single_dash;
mod source;
mod status;
mod sync;
mod token;
mod values;
mod verify;
mod version;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Arguments, Command};
use failure::{Class, Failure};
use signals::Signals;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let arguments = single_dash::rewrite(&Arguments::command(), std::env::args_os());
    let wants_json = arguments.iter().skip(1).any(|argument| argument == "--json");
    let result = match parse(arguments) {
        Ok(arguments) => run(arguments),
        // Help and version are errors to clap, and no failures.
        Err(error) if !error.use_stderr() => {
            output::text(&format!("{}\n", error.render().to_string().trim_end()))
        }
        Err(error) => Err(Failure::usage(&error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, wants_json);
            failure.class.exit_code()
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let matches = Arguments::command().try_get_matches_from(arguments)?;
    Arguments::from_arg_matches(&matches)
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    logging::start(arguments.log_level, arguments.log_format);
    match arguments.command {
        Command::Replicate(command) => with_runtime(|signals| replicate::run(command, signals)),
        Command::Databases(command) => databases::run(&command),
        Command::Sync(command) => with_runtime(|signals| sync::run(command, signals)),
        Command::List(command) => with_runtime(|_| list::run(command)),
        Command::Info(command) => with_runtime(|_| info::run(command)),
        Command::Register(command) => with_runtime(|_| live::register(command)),
        Command::Unregister(command) => with_runtime(|_| live::unregister(command)),
        Command::Stop(command) => with_runtime(|_| live::stop(command)),
        Command::Start(command) => with_runtime(|_| live::start(command)),
        Command::Restore(command) => with_runtime(|signals| restore::run(command, signals)),
        Command::Verify(command) => with_runtime(|signals| verify::run(command, signals)),
        Command::Ltx(command) => with_runtime(|signals| ltx::run(command, signals)),
        Command::Status(command) => with_runtime(|signals| status::run(command, signals)),
        Command::Copy(command) => with_runtime(|signals| copy::run(command, signals)),
        Command::Doctor(command) => with_runtime(|signals| doctor::run(command, signals)),
        Command::Reset(command) => reset::run(&command),
        Command::Completions(command) => completions::run(&command),
        Command::Man => man::run(),
        Command::Token(command) => token::run(&command),
        Command::Version(command) => version::run(&command),
    }
}

/// One thread drives all; disk work that takes long is done beside it.
fn with_runtime<F>(command: impl FnOnce(Signals) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let unexpected =
        |error: std::io::Error| Failure::new(Class::Unexpected, format!("cannot start: {error}"));
    let signals = Signals::listen().map_err(unexpected)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(unexpected)?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(command(signals)))
}
