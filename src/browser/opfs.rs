//! Files of the origin private file system, and where a database's files are in it.
//!
//! `walferry/v1/<database>@<URL, percent-encoded>/{db,position,redo,present}`: a plain folder of plain files, `db` being the
//! database byte for byte. Only a dedicated worker may open them, and each only once.

use std::cell::RefCell;

use futures_util::future::try_join3;
use js_sys::{JsString, Promise, encode_uri_component};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DomException, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemReadWriteOptions, FileSystemRemoveOptions,
    FileSystemSyncAccessHandle, WorkerGlobalScope,
};

use super::ahead::Ahead;
use super::database::Files;
use super::file::{Error, File, Result};

/// Where a test may end the tab. In builds without the feature it is nothing.
macro_rules! fault_point {
    ($file:ident, $change:literal) => {
        #[cfg(feature = "fault-points")]
        crate::browser::fault_points::reach(&$file.file, $change);
    };
}

/// A file that this worker holds exclusively, until it is dropped.
#[derive(Debug)]
pub struct OpfsFile {
    handle: FileSystemSyncAccessHandle,
    /// For messages.
    name: String,
    /// Where to read or write: made once, for it costs as much as a page.
    at: FileSystemReadWriteOptions,
    ahead: RefCell<Ahead>,
    #[cfg(feature = "fault-points")]
    file: String,
}

/// The folder of one database.
#[derive(Clone, Debug)]
pub struct Folder {
    name: String,
}

impl Folder {
    /// Of the database `database` at `url`.
    pub fn of(url: &str, database: &str) -> Self {
        let [url, database] = [url, database].map(|part| String::from(encode_uri_component(part)));
        Self {
            name: format!("{database}@{url}"),
        }
    }

    /// Opens the files, new or used. [`Error::Locked`] while anyone else has them open.
    pub async fn open(&self) -> Result<Files<OpfsFile>> {
        let what = format!("the local copy {}", self.name);
        let folder = subfolder(&parent().await?, &self.name).await?;
        // The largest first: whoever gets it gets them all.
        let db = OpfsFile::open(&folder, "db", &what).await?;
        let [position, redo, present] =
            ["position", "redo", "present"].map(|name| OpfsFile::open(&folder, name, &what));
        let (position, redo, present) = try_join3(position, redo, present).await?;
        Ok(Files {
            db,
            position,
            redo,
            present,
        })
    }

    /// Deletes the files. [`Error::Locked`] while anyone has them open; that there are none is no error.
    pub async fn delete(&self) -> Result<()> {
        let what = format!("the local copy {}", self.name);
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        match settled(
            parent().await?.remove_entry_with_options(&self.name, &options),
            &what,
        )
        .await
        {
            Err(Error::Failed { why, .. }) if why.starts_with("NotFoundError") => Ok(()),
            other => other.map(|_: JsValue| ()),
        }
    }
}

impl OpfsFile {
    async fn open(folder: &FileSystemDirectoryHandle, name: &str, what: &str) -> Result<Self> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let file: FileSystemFileHandle =
            settled(folder.get_file_handle_with_options(name, &options), what).await?;
        let handle = settled(file.create_sync_access_handle(), what).await?;
        Ok(Self {
            handle,
            name: what.to_owned(),
            at: FileSystemReadWriteOptions::new(),
            ahead: RefCell::default(),
            #[cfg(feature = "fault-points")]
            file: name.to_owned(),
        })
    }

    fn done<T>(&self, result: std::result::Result<T, JsValue>) -> Result<T> {
        result.map_err(|error| failure(&error, &self.name))
    }

    fn at(&self, offset: u64) -> &FileSystemReadWriteOptions {
        self.at.set_at(offset as f64);
        &self.at
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut len = 0;
        while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
            let at = self.at(offset.saturating_add(len as u64));
            let read = self.done(self.handle.read_with_u8_array_and_options(rest, at))? as usize;
            if read == 0 {
                break;
            }
            len = len.saturating_add(read);
        }
        Ok(len)
    }

    /// A write that is cut off in its middle, for a test that wants it so.
    #[cfg(feature = "fault-points")]
    fn tear(&self, offset: u64, data: &[u8]) -> Result<()> {
        let half = data.split_at(data.len() / 2).0;
        self.done(self.handle.write_with_u8_array_and_options(half, self.at(offset)))?;
        fault_point!(self, "write_half");
        Ok(())
    }
}

impl Drop for OpfsFile {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl File for OpfsFile {
    fn size(&self) -> Result<u64> {
        self.done(self.handle.get_size()).map(|size| size as u64)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut ahead = self.ahead.borrow_mut();
        ahead.read(offset, buffer, |offset, buffer| self.read_now(offset, buffer))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.ahead.borrow_mut().forget();
        #[cfg(feature = "fault-points")]
        self.tear(offset, data)?;
        let written = self.handle.write_with_u8_array_and_options(data, self.at(offset));
        // Browsers disagree: some throw when there is no room, some write less.
        if self.done(written)? as usize == data.len() {
            fault_point!(self, "write");
            Ok(())
        } else {
            Err(Error::Full(self.name.clone()))
        }
    }

    fn truncate(&self, size: u64) -> Result<()> {
        self.ahead.borrow_mut().forget();
        self.done(self.handle.truncate_with_f64(size as f64))?;
        // Chromium's incognito windows say nothing and leave the file empty.
        if self.size()? == size {
            fault_point!(self, "truncate");
            Ok(())
        } else {
            Err(Error::Full(self.name.clone()))
        }
    }

    fn flush(&self) -> Result<()> {
        self.done(self.handle.flush())?;
        fault_point!(self, "flush");
        Ok(())
    }
}

/// The folder of all databases.
async fn parent() -> Result<FileSystemDirectoryHandle> {
    let what = "opening the browser's private file system";
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().map_err(|_| Error::Failed {
        what: what.to_owned(),
        why: "this is not a worker".to_owned(),
    })?;
    let storage = js_sys::Reflect::get(&scope.navigator(), &"storage".into()).unwrap_or_default();
    let storage: web_sys::StorageManager = storage.dyn_into().map_err(|_| Error::Failed {
        what: what.to_owned(),
        why: "the browser offers it only to pages served by https, or from localhost".to_owned(),
    })?;
    let root = settled(storage.get_directory(), what).await?;
    let walferry = subfolder(&root, "walferry").await?;
    subfolder(&walferry, "v1").await
}

async fn subfolder(parent: &FileSystemDirectoryHandle, name: &str) -> Result<FileSystemDirectoryHandle> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    settled(
        parent.get_directory_handle_with_options(name, &options),
        "creating a folder",
    )
    .await
}

async fn settled<T: JsCast>(promise: Promise, what: &str) -> Result<T> {
    match JsFuture::from(promise).await {
        Ok(value) => Ok(value.unchecked_into()),
        Err(error) => Err(failure(&error, what)),
    }
}

fn failure(error: &JsValue, what: &str) -> Error {
    let (name, message) = match error.dyn_ref::<DomException>() {
        Some(error) => (error.name(), error.message()),
        None => match error.dyn_ref::<js_sys::Error>() {
            Some(error) => (error.name().into(), error.message().into()),
            None => (String::new(), JsString::from(error.clone()).into()),
        },
    };
    match name.as_str() {
        "NoModificationAllowedError" => Error::Locked(what.to_owned()),
        "QuotaExceededError" => Error::Full(what.to_owned()),
        _ => Error::Failed {
            what: what.to_owned(),
            why: format!("{name}: {message}"),
        },
    }
}
