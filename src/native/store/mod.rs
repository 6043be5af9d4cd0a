//! The destinations of the native build: where they are ([`Destination`]), how their objects are reached, and what that
//! costs ([`Meter`]).

mod bucket;
mod counted;
mod destination;
mod folder;
mod http;
mod impatient;
mod keys;
mod live;
mod meter;
mod patient;
mod secret;
mod upload;
mod worker;

pub use bucket::url::{endpoint, key_prefix};
pub use bucket::{AbsSettings, GsSettings, S3Settings};
pub use counted::Counted;
pub use destination::{Access, Destination, InvalidUrl};
pub use folder::FolderStore;
pub use impatient::Impatient;
pub use keys::{Keys, Object};
pub use live::{Live, News, Told};
pub use meter::{BUCKETS, Kind, Meter};
pub use patient::Patient;
pub use secret::Secret;
pub use worker::WorkerStore;
