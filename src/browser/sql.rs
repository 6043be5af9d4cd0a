//! Read-only SQL on the local copy.

mod cursor;

pub use cursor::Cursor;

use std::fmt::Debug;
use std::rc::Rc;

use rsqlite_vfs::OsCallback;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Batch, Connection, OpenFlags, Row, Statement};

use super::Error;
use super::image::Image;
use super::vfs::Mount;
use crate::replica::PageSet;

/// A connection of SQLite to a local copy. It lives through refreshes.
#[derive(Debug)]
pub struct Reader<I: Image + 'static> {
    // Dropped first: the mount must outlive it.
    connection: Connection,
    mount: Mount<I>,
    image: Rc<I>,
}

/// What stands for the parameters of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameters {
    /// For `?`, in order.
    Positional(Vec<Value>),
    /// For `:name`, `@name` and `$name`; names may come with or without that first character.
    Named(Vec<(String, Value)>),
}

/// Takes what a statement yields.
pub trait Sink {
    /// The names of the columns, once, before the rows.
    fn columns(&mut self, names: &[&str]);
    /// A row begins.
    fn row(&mut self);
    /// The row's next value.
    fn value(&mut self, value: ValueRef<'_>);
}

impl<I: Image + 'static> Reader<I> {
    /// Opens a connection.
    pub fn open(image: Rc<I>, os: impl OsCallback + 'static) -> Result<Self, Error> {
        let mount = Mount::new(image.clone(), os).map_err(|error| Error::Sql {
            code: "SQLITE_ERROR",
            message: error.to_string(),
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(Mount::<I>::NAME, flags, mount.vfs())
            .map_err(|error| failure(&error, None))?;
        Ok(Self {
            connection,
            mount,
            image,
        })
    }

    /// Runs one statement and hands its rows to `sink`, at most `limit` of them. Says whether there were more.
    pub fn query(
        &self,
        sql: &str,
        parameters: &Parameters,
        limit: usize,
        sink: &mut impl Sink,
    ) -> Result<bool, Error> {
        let mut run = || -> Result<bool, Fault> {
            let mut statement = self.prepare(sql)?;
            bind(&mut statement, parameters)?;
            sink.columns(&statement.column_names().collect::<Vec<_>>());
            let count = statement.column_count();
            let mut rows = statement.raw_query();
            let mut left = limit;
            while let Some(row) = rows.next()? {
                if left == 0 {
                    return Ok(true);
                }
                left -= 1;
                hand(row, count, sink)?;
            }
            Ok(false)
        };
        run().map_err(|fault| self.told(fault))
    }

    /// Whether a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// As [`Reader::query`], and which pages the answer was read from.
    pub fn watch(
        &self,
        sql: &str,
        parameters: &Parameters,
        limit: usize,
        sink: &mut impl Sink,
    ) -> Result<(bool, PageSet), Error> {
        // A page that SQLite has kept would not be read again.
        let forgotten = self.connection.execute_batch("PRAGMA shrink_memory");
        forgotten.map_err(|error| self.told(error.into()))?;
        self.image.record();
        let truncated = self.query(sql, parameters, limit, sink);
        let pages = self.image.recorded();
        Ok((truncated?, pages))
    }

    /// The one statement that `sql` is.
    fn prepare(&self, sql: &str) -> Result<Statement<'_>, Fault> {
        let mut statements = Batch::new(&self.connection, sql);
        let statement = statements
            .next()?
            .ok_or(Fault::Caller("there is no SQL statement in it"))?;
        match statements.next()? {
            None => Ok(statement),
            Some(_) => Err(Fault::Caller(
                "it holds more than one SQL statement; run one at a time",
            )),
        }
    }

    fn told(&self, fault: Fault) -> Error {
        match fault {
            Fault::Sqlite(error) => failure(&error, self.mount.take_last_error()),
            Fault::Caller(message) => Error::Invalid(message.to_owned()),
            Fault::Parameters(message) => Error::Invalid(message),
        }
    }
}

/// One row, to whoever takes it.
fn hand(row: &Row<'_>, count: usize, sink: &mut impl Sink) -> rusqlite::Result<()> {
    sink.row();
    for column in 0..count {
        sink.value(row.get_ref(column)?);
    }
    Ok(())
}

enum Fault {
    Sqlite(rusqlite::Error),
    Caller(&'static str),
    Parameters(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Binds every parameter; one too few or too many is an error.
fn bind(statement: &mut Statement<'_>, parameters: &Parameters) -> Result<(), Fault> {
    let wanted = statement.parameter_count();
    match parameters {
        Parameters::Positional(values) => {
            if values.len() != wanted {
                return Err(Fault::Parameters(format!(
                    "the statement has {wanted} parameters, but {} values were given",
                    values.len()
                )));
            }
            for (index, value) in (1..).zip(values) {
                statement.raw_bind_parameter(index, value)?;
            }
        }
        Parameters::Named(values) => {
            let bare = |name: &str| name.trim_start_matches([':', '@', '$']).to_owned();
            let mut unused: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
            for index in 1..=wanted {
                let name = statement.parameter_name(index).map(bare).ok_or_else(|| {
                    Fault::Parameters(format!(
                        "parameter {index} has no name: give the values as an array"
                    ))
                })?;
                let (given, value) =
                    values
                        .iter()
                        .find(|(given, _)| bare(given) == name)
                        .ok_or_else(|| {
                            Fault::Parameters(format!("there is no value for the parameter {name}"))
                        })?;
                statement.raw_bind_parameter(index, value)?;
                unused.retain(|name| name != given);
            }
            if let Some(name) = unused.first() {
                return Err(Fault::Parameters(format!(
                    "the statement has no parameter {name}"
                )));
            }
        }
    }
    Ok(())
}

/// What SQLite says, and why the files failed, if they did.
fn failure(error: &rusqlite::Error, of_files: Option<String>) -> Error {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(error, message) => (
            error.extended_code,
            message.clone().unwrap_or_else(|| error.to_string()),
        ),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.extended_code, msg.clone()),
        other => (1, other.to_string()),
    };
    let message = match of_files {
        Some(why) => format!("{message}: {why}"),
        None => message,
    };
    Error::Sql {
        code: name(code & 0xff),
        message,
    }
}

/// The names of the primary result codes, from sqlite.org/rescode.html.
fn name(code: i32) -> &'static str {
    const NAMES: [&str; 27] = [
        "SQLITE_OK",
        "SQLITE_ERROR",
        "SQLITE_INTERNAL",
        "SQLITE_PERM",
        "SQLITE_ABORT",
        "SQLITE_BUSY",
        "SQLITE_LOCKED",
        "SQLITE_NOMEM",
        "SQLITE_READONLY",
        "SQLITE_INTERRUPT",
        "SQLITE_IOERR",
        "SQLITE_CORRUPT",
        "SQLITE_NOTFOUND",
        "SQLITE_FULL",
        "SQLITE_CANTOPEN",
        "SQLITE_PROTOCOL",
        "SQLITE_EMPTY",
        "SQLITE_SCHEMA",
        "SQLITE_TOOBIG",
        "SQLITE_CONSTRAINT",
        "SQLITE_MISMATCH",
        "SQLITE_MISUSE",
        "SQLITE_NOLFS",
        "SQLITE_AUTH",
        "SQLITE_FORMAT",
        "SQLITE_RANGE",
        "SQLITE_NOTADB",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|code| NAMES.get(code))
        .unwrap_or(&"SQLITE_ERROR")
}

#[cfg(test)]
mod tests;
