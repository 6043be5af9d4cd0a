//! How a command fails: a sentence, and an exit code by class.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::native::{config, copy, replicate, restore, sqlite, store as destinations};
use crate::replica::PlanError;
use crate::{restore as core, store};

/// The table in the help.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something unexpected, a fault of the disk for instance
  2  the command line or a URL is wrong
  3  the database or the wanted state: missing, not SQLite, not in WAL mode, no such time
  4  the destination cannot be reached, refuses, or does not answer as it should
  5  the destination denies access
  6  someone else writes to the replica, or replicates the database
  7  the replica is empty, incomplete or damaged
  8  refused to overwrite an existing file
  130, 143  broken off by Ctrl-C, SIGTERM
  With replicate --exec, the application's own code, unless that is 0.";

/// What kind of failure it is; scripts tell by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Unexpected,
    Usage,
    Input,
    Unreachable,
    Denied,
    Conflict,
    Damaged,
    Exists,
    /// By a signal of this number.
    Interrupted(i32),
    /// The application that was started ended with this code.
    Application(u8),
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: Class,
    pub(super) message: String,
}

impl Class {
    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Unreachable => 4,
            Self::Denied => 5,
            Self::Conflict => 6,
            Self::Damaged => 7,
            Self::Exists => 8,
            Self::Application(code) => code,
            Self::Interrupted(signal) => u8::try_from(signal).unwrap_or_default().saturating_add(128),
        })
    }

    /// For programs that read JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Input => "input",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Damaged => "damaged",
            Self::Exists => "exists",
            Self::Interrupted(_) => "interrupted",
            Self::Application(_) => "application",
        }
    }
}

impl Failure {
    pub(super) fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }

    /// One that was told already: only its exit code is left to give.
    pub(super) fn told(class: Class) -> Self {
        Self::new(class, "")
    }

    fn of(class: Class, error: &impl std::fmt::Display) -> Self {
        Self::new(class, error.to_string())
    }

    /// What the argument parser says, without its prefix.
    pub(super) fn usage(error: &clap::Error) -> Self {
        let mut text = error.render().to_string();
        // The help stands for a sentence where there was no command at all.
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            text.insert_str(0, "say what to do\n\n");
        }
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        Self::new(Class::Usage, text.trim_end())
    }

    /// The same failure, with what was being done before it.
    pub(super) fn while_doing(self, what: impl std::fmt::Display) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::of(Class::Usage, &error)
    }
}

impl From<destinations::InvalidUrl> for Failure {
    fn from(error: destinations::InvalidUrl) -> Self {
        Self::of(Class::Usage, &error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        use store::Error;
        let class = match &error {
            Error::NotFound(_) | Error::OutOfRange(_) => Class::Damaged,
            Error::Exists(_) | Error::Conflict { .. } => Class::Conflict,
            Error::Denied(_) => Class::Denied,
            Error::Unavailable(_) | Error::Protocol(_) | Error::Refused(_) | Error::Io { .. } => {
                Class::Unreachable
            }
        };
        Self::of(class, &error)
    }
}

impl From<core::Error> for Failure {
    fn from(error: core::Error) -> Self {
        match error {
            core::Error::Store(error) => error.into(),
            core::Error::Lost { .. } => Self::of(Class::Damaged, &error),
            core::Error::Plan(PlanError::NoSuchTxid { .. } | PlanError::TooEarly | PlanError::NoTimes(_)) => {
                Self::of(Class::Input, &error)
            }
            _ => Self::of(Class::Damaged, &error),
        }
    }
}

impl From<copy::Error> for Failure {
    fn from(error: copy::Error) -> Self {
        use copy::Error;
        let class = match error {
            Error::Store(error) => return error.into(),
            Error::Differs(_) => Class::Conflict,
            Error::Plan(_) | Error::Damaged { .. } | Error::Bundle { .. } => Class::Damaged,
            _ => Class::Unexpected,
        };
        Self::of(class, &error)
    }
}

impl From<restore::Error> for Failure {
    fn from(error: restore::Error) -> Self {
        let class = match &error {
            restore::Error::Replica(_) => None,
            restore::Error::Old(error) => Some(match error {
                restore::v3::Error::NoTxids | restore::v3::Error::NotFollowed => Class::Usage,
                _ => Class::Damaged,
            }),
            restore::Error::Exists(_) | restore::Error::Leftover(_) => Some(Class::Exists),
            restore::Error::NoFolder(_) => Some(Class::Input),
            restore::Error::Integrity(_) => Some(Class::Damaged),
            restore::Error::Changed(_) => Some(Class::Conflict),
            restore::Error::Copy { .. } | restore::Error::Output { .. } | restore::Error::Broken(_) => {
                Some(Class::Unexpected)
            }
        };
        match (class, error) {
            (_, restore::Error::Replica(error)) => error.into(),
            (class, error) => Self::of(class.unwrap_or(Class::Unexpected), &error),
        }
    }
}

impl From<replicate::Error> for Failure {
    fn from(error: replicate::Error) -> Self {
        use replicate::Error;
        let class = match error {
            Error::Store(error) => return error.into(),
            Error::Replica(error) => return error.into(),
            Error::Database(ref error) => match error.class() {
                sqlite::Class::Input | sqlite::Class::Busy | sqlite::Class::Database => Class::Input,
                sqlite::Class::Moved => Class::Unexpected,
            },
            Error::PageSize { .. } | Error::Replaced(_) => Class::Input,
            Error::InUse(_) | Error::Moved { .. } | Error::Owned { .. } | Error::TakenOver { .. } => {
                Class::Conflict
            }
            Error::Unshipped(_) => Class::Unreachable,
            _ => Class::Unexpected,
        };
        Self::of(class, &error)
    }
}
