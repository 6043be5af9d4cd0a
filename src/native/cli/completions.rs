//! `walferry completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::args::Arguments;
use super::failure::Failure;
use super::output;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  walferry completions bash > /etc/bash_completion.d/walferry
  walferry completions zsh  > ~/.zfunc/_walferry
  walferry completions fish > ~/.config/fish/completions/walferry.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(arguments: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "walferry",
        &mut script,
    );
    output::text(&String::from_utf8_lossy(&script))
}
