//! Litestream's options have one dash before a long name (`-timestamp`); both forms work here.

use std::ffi::{OsStr, OsString};

/// Gives every long option that is written with one dash its second. What follows `--` is left alone.
pub(super) fn rewrite(command: &clap::Command, arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let names = Names::of(command);
    let mut operands_only = false;
    let rewrite_one = |argument: OsString| {
        operands_only |= argument == "--";
        if operands_only || !names.is_long(&argument) {
            return argument;
        }
        let mut long = OsString::from("-");
        long.push(argument);
        long
    };
    arguments.map(rewrite_one).collect()
}

/// The names of all options of all commands.
#[derive(Default)]
struct Names {
    long: Vec<String>,
    short: Vec<char>,
}

impl Names {
    fn of(command: &clap::Command) -> Self {
        let mut names = Self {
            long: vec!["help".into(), "version".into()],
            short: vec!['h', 'V'],
        };
        names.collect(command);
        names
    }

    fn collect(&mut self, command: &clap::Command) {
        for option in command.get_arguments() {
            self.long.extend(option.get_long().map(str::to_owned));
            self.short.extend(option.get_short());
        }
        command.get_subcommands().for_each(|below| self.collect(below));
    }

    /// Whether this is one dash and a long name. One that nobody knows counts unless it starts as a short option
    /// does (`-oOUT`), so that the complaint names all of it.
    fn is_long(&self, argument: &OsStr) -> bool {
        let Some(text) = argument.to_str().and_then(|text| text.strip_prefix('-')) else {
            return false;
        };
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let is_known = self.long.iter().any(|long| long == name);
        let is_name = name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic());
        is_known || (is_name && !name.starts_with(self.short.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::Arguments;
    use super::*;
    use clap::CommandFactory;

    fn rewritten(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from);
        let rewritten = rewrite(&Arguments::command(), arguments);
        rewritten.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn one_dash_before_a_long_name_becomes_two() {
        for (line, expected) in [
            ("restore -o out -json URL", "restore -o out --json URL"),
            (
                "restore -output=out -timestamp 5m",
                "restore --output=out --timestamp 5m",
            ),
            ("replicate -once -set-wal DB", "replicate --once --set-wal DB"),
            ("restore -oout --txid 1 -h", "restore -oout --txid 1 -h"),
            ("replicate -nonsense", "replicate --nonsense"),
            ("restore -- -json -timestamp", "restore -- -json -timestamp"),
            ("restore - -5 --json", "restore - -5 --json"),
        ] {
            assert_eq!(rewritten(line), expected);
        }
    }
}
