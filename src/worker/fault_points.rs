//! Faults on demand, and tests that must run inside the Worker. Only in builds with the feature `fault-points`.
#![expect(clippy::panic, reason = "that is what is tested")]

use worker::{Bucket, Response};

use super::failure::Failure;
use super::r2::R2Store;
use super::route::Db;
use crate::store::conformance;

/// What a path below `/v1/-/` asks for.
#[derive(Debug)]
pub(super) enum Fault {
    /// The wasm instance dies.
    Panic,
    /// The store's conformance suite runs on an empty database.
    Conformance(Db),
}

impl Fault {
    pub(super) fn of(parts: &[&str]) -> Result<Self, Failure> {
        match parts {
            ["panic"] => Ok(Self::Panic),
            ["conformance", db] => Ok(Self::Conformance(Db::parse(db)?)),
            _ => Err(Failure::new(404, "unknown_route", "There is no such fault.")),
        }
    }
}

pub(super) async fn run(fault: Fault, bucket: Bucket) -> Result<Response, Failure> {
    match fault {
        Fault::Panic => panic!("a panic was asked for"),
        Fault::Conformance(db) => {
            let store = R2Store::new(bucket, db);
            conformance::run(&store).await;
            Ok(Response::ok("conforms")?)
        }
    }
}
