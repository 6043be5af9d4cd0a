//! The local copy as SQLite opens it: one read-only file, which may move to a newer state between statements.
//!
//! Not IMMUTABLE: a connection must notice an apply, and does, by the change counter that
//! [`Database::read`] serves.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use rsqlite_vfs::{
    AccessMode, FileKind, LockLevel, MemChunksFile, OpenAccess, OpenOptions, OpenRequest, OpenedFile,
    OsCallback, RegisterVfsError, SQLiteIoMethods, SQLiteVfs, SyncOptions, VfsError, VfsErrorCode, VfsFile,
    VfsRegistration, VfsResult, VfsStore, register_vfs,
};

use super::file;
use super::image::{Image, Reading};

/// A database that SQLite can open, under [`Mount::NAME`] in the VFS [`Mount::vfs`].
///
/// Close every connection to it before it is dropped.
pub struct Mount<I: Image + 'static> {
    vfs: String,
    shared: Rc<Shared<I>>,
    registration: Option<VfsRegistration<Rc<Shared<I>>>>,
}

/// What the callbacks know.
struct Shared<I> {
    database: Rc<I>,
    os: Box<dyn OsCallback>,
    last_error: RefCell<Option<VfsError>>,
}

impl<I: Image + 'static> Mount<I> {
    /// The name of the database's file.
    pub const NAME: &'static str = "database";

    /// Makes `database` known to SQLite, under a VFS of its own.
    pub fn new(database: Rc<I>, os: impl OsCallback + 'static) -> Result<Self, RegisterVfsError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let vfs = format!("walferry-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let shared = Rc::new(Shared {
            database,
            os: Box::new(os),
            last_error: RefCell::new(None),
        });
        // SAFETY: `Methods` and `Served` are used with the layouts and the data that their defaults expect, the data
        // is owned by the registration, and `Rc` keeps everything on this thread, whose connections alone use it.
        let registration = unsafe { register_vfs::<Methods<I>, Served<I>>(&vfs, shared.clone(), false) }?;
        Ok(Self {
            vfs,
            shared,
            registration: Some(registration),
        })
    }

    /// The name of the VFS.
    pub fn vfs(&self) -> &str {
        &self.vfs
    }

    /// What the files said when a read failed last, which SQLite reports as "disk I/O error".
    pub fn take_last_error(&self) -> Option<String> {
        let error = self.shared.last_error.take();
        error.map(|error| error.message().to_owned())
    }
}

impl<I: Image + 'static> Drop for Mount<I> {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            // SAFETY: the connections are closed, as `Mount` demands. A failure leaves the VFS in place, unused.
            let _ = unsafe { registration.unregister() };
        }
    }
}

impl<I: Image + 'static> std::fmt::Debug for Mount<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount")
            .field("vfs", &self.vfs)
            .finish_non_exhaustive()
    }
}

struct Methods<I>(PhantomData<I>);

impl<I: Image + 'static> SQLiteIoMethods for Methods<I> {
    type Store = Served<I>;
}

struct Served<I>(PhantomData<I>);

impl<I: Image + 'static> SQLiteVfs<Methods<I>> for Served<I> {
    type Os = dyn OsCallback;

    fn os(shared: &Rc<Shared<I>>) -> &Self::Os {
        &*shared.os
    }
}

impl<I: Image + 'static> VfsStore for Served<I> {
    type File = Handle<I>;
    type AppData = Rc<Shared<I>>;

    fn record_error(shared: &Self::AppData, error: VfsError) {
        // The end of the file is no fault.
        if error.code() != VfsErrorCode::IoShortRead {
            *shared.last_error.borrow_mut() = Some(error);
        }
    }

    fn last_error(shared: &Self::AppData) -> Option<VfsError> {
        shared.last_error.borrow().clone()
    }

    fn open_file(shared: &Self::AppData, request: OpenRequest<'_>) -> VfsResult<OpenedFile<Self::File>> {
        match (request.filename, request.options.kind()) {
            (Some(name), Some(FileKind::MainDb)) if name.path() == Mount::<I>::NAME => Ok(OpenedFile {
                file: Handle::Database {
                    database: shared.database.clone(),
                    reading: None,
                },
                access: OpenAccess::ReadOnly,
            }),
            // What SQLite wants for itself.
            (None, _) => Ok(OpenedFile {
                file: Handle::Temporary(MemChunksFile::default()),
                access: request.options.access(),
            }),
            (Some(name), _) => Err(VfsError::new(
                VfsErrorCode::CantOpen,
                format!("there is no file {}, only {}", name.path(), Mount::<I>::NAME).into(),
            )),
        }
    }

    fn close_file(_: &Self::AppData, _: Option<&str>, mut file: Self::File, _: OpenOptions) -> VfsResult<()> {
        file.unlock(LockLevel::None)
    }

    fn access(_: &Self::AppData, name: &str, _: AccessMode) -> VfsResult<bool> {
        // There never is a journal or a WAL.
        Ok(name == Mount::<I>::NAME)
    }

    fn full_pathname(_: &Self::AppData, name: &str) -> VfsResult<String> {
        Ok(name.to_owned())
    }

    fn delete_file(_: &Self::AppData, name: &str, _: bool) -> VfsResult<()> {
        Err(VfsError::new(
            VfsErrorCode::IoDelete,
            format!("{name} is not deleted by SQL").into(),
        ))
    }
}

/// An open file.
enum Handle<I: Image> {
    Database {
        database: Rc<I>,
        reading: Option<Reading>,
    },
    Temporary(MemChunksFile),
}

impl<I: Image> VfsFile for Handle<I> {
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> VfsResult<usize> {
        match self {
            Self::Database { database, .. } => database.read(offset, buffer).map_err(|error| failed(&error)),
            Self::Temporary(file) => file.read(buffer, offset),
        }
    }

    fn write(&mut self, buffer: &[u8], offset: u64) -> VfsResult<()> {
        match self {
            Self::Database { .. } => Err(read_only()),
            Self::Temporary(file) => file.write(buffer, offset),
        }
    }

    fn truncate(&mut self, size: u64) -> VfsResult<()> {
        match self {
            Self::Database { .. } => Err(read_only()),
            Self::Temporary(file) => file.truncate(size),
        }
    }

    fn sync(&mut self, _: SyncOptions) -> VfsResult<()> {
        Ok(())
    }

    fn size(&self) -> VfsResult<u64> {
        match self {
            Self::Database { database, .. } => database.size().map_err(|error| failed(&error)),
            Self::Temporary(file) => file.size(),
        }
    }

    /// A shared lock is what SQLite holds from a statement's first row, or a transaction's first statement, to the
    /// end: exactly while nothing may be applied.
    fn lock(&mut self, level: LockLevel) -> VfsResult<()> {
        match self {
            Self::Database { database, reading } => {
                if level > LockLevel::Shared {
                    return Err(read_only());
                }
                reading.get_or_insert_with(|| database.begin_reading());
                Ok(())
            }
            Self::Temporary(file) => file.lock(level),
        }
    }

    fn unlock(&mut self, level: LockLevel) -> VfsResult<()> {
        match self {
            Self::Database { database, reading } => {
                if level == LockLevel::None
                    && let Some(reading) = reading.take()
                {
                    database.end_reading(reading);
                }
                Ok(())
            }
            Self::Temporary(file) => file.unlock(level),
        }
    }

    fn check_reserved_lock(&self) -> VfsResult<bool> {
        Ok(false)
    }
}

fn failed(error: &file::Error) -> VfsError {
    VfsError::new(VfsErrorCode::IoRead, error.to_string().into())
}

fn read_only() -> VfsError {
    VfsError::new(
        VfsErrorCode::ReadOnly,
        "the copy of the database is not written by SQL".into(),
    )
}
