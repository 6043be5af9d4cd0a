//! The endpoint that `addr` names: `/metrics` for Prometheus, `/health` for load balancers and containers.
//!
//! It only reads the cells that the engine writes; between requests it costs nothing. Beside it, the heartbeat that
//! `heartbeat-url` asks for.

mod address;
mod exposition;
mod health;
mod heartbeat;
mod process;
mod scraping;
mod server;

pub use address::Address;
pub use heartbeat::{Heartbeat, Pulse};
pub use scraping::{Page, scrape};
pub use server::{Server, serve};
