//! The destinations of the native build: where they are ([`Destination`]), and how their objects are reached.

mod destination;
mod folder;
mod http;
mod impatient;
mod patient;
mod upload;
mod worker;

pub use destination::{Access, Destination, InvalidUrl};
pub use folder::FolderStore;
pub use impatient::Impatient;
pub use patient::Patient;
pub use worker::WorkerStore;
