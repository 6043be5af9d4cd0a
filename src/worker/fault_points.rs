//! Faults on demand, and tests that must run inside the Worker. Only in builds with the feature `fault-points`.
#![expect(clippy::panic, reason = "that is what is tested")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use worker::{Delay, Env, Request, Response};

use super::body::Body;
use super::failure::Failure;
use super::gate;
use super::intake::Intake;
use super::r2::R2Store;
use super::route::Db;
use super::upload::declared_size;
use crate::ltx::{Decompressor, Header, decode_frame, index};
use crate::replica::{Level, SegmentId};
use crate::store::conformance;

/// What a path below `/v1/-/` asks for.
#[derive(Debug)]
pub(super) enum Fault {
    /// The wasm instance dies.
    Panic,
    /// The store's conformance suite runs on an empty database.
    Conformance(Db),
    /// The body becomes the object of this key, unchecked, as if another program had put it; with no metadata but
    /// Litestream's, if a header tells it.
    Plant(String),
    /// The object of this key goes.
    Uproot(String),
    /// All keys of the bucket.
    Keys,
    /// The next to reach the point of this name dies there, hangs for ever, or waits for `GoOn`.
    Arm(String, End),
    /// Who waits at a point goes on.
    GoOn,
    /// By so many milliseconds the clock of leases is set ahead.
    Ahead(u64),
    /// More segments than this are too many.
    Most(usize),
    /// R2 serves no read after so many requests of one to the object, as on a plan that allows no more.
    Afford(u64),
    /// How often armed points were reached.
    Reached,
    /// What was asked of R2 and of the objects' storage since this was last asked.
    Counts,
    /// When the alarm of a database rings.
    Alarm(Db),
    /// The bytes of the wasm instance's memory, which never shrinks.
    Memory,
    /// The body, a segment, is proven so many times as an upload is; or its pages are only unpacked and hashed once.
    Prove(u32),
    Unpack(u32),
}

/// How a request ends at a point.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Panic,
    Hang,
    Wait,
}

thread_local! {
    static ARMED: RefCell<Option<(String, End)>> = const { RefCell::new(None) };
    static REACHED: Cell<u32> = const { Cell::new(0) };
    static GONE_ON: Cell<u32> = const { Cell::new(0) };
    static MOST: Cell<Option<usize>> = const { Cell::new(None) };
    static AHEAD: Cell<u64> = const { Cell::new(0) };
    static OF_ALARM: Cell<u64> = const { Cell::new(0) };
    static OF_REQUEST: Cell<u64> = const { Cell::new(0) };
    static AFFORDED: Cell<u64> = const { Cell::new(u64::MAX) };
    static COUNTS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// A named place in an operation of several steps.
pub(super) async fn reach(point: &str) {
    let armed = ARMED.with_borrow_mut(|armed| armed.take_if(|(name, _)| name == point));
    let Some((_, end)) = armed else {
        return;
    };
    REACHED.set(REACHED.get().saturating_add(1));
    match end {
        End::Panic => panic!("a panic was asked for at {point}"),
        End::Hang => pending().await,
        End::Wait => {
            let gone_on = GONE_ON.get();
            while GONE_ON.get() == gone_on {
                Delay::from(Duration::from_millis(5)).await;
            }
        }
    }
}

/// How far the clock of leases is set ahead, in milliseconds.
pub(super) fn ahead() -> u64 {
    AHEAD.get()
}

/// How many segments are not too many.
pub(super) fn max_segments() -> Option<usize> {
    MOST.get()
}

/// From here on, what is asked of R2 is of an alarm; of several, if others ring meanwhile.
pub(super) fn alarm_begins() {
    OF_ALARM.set(0);
}

/// Counts the requests of the alarm that made most.
pub(super) fn alarm_ends() {
    COUNTS.with_borrow_mut(|counts| {
        let most = counts.entry("most_of_an_alarm").or_default();
        *most = OF_ALARM.get().max(*most);
    });
}

/// From here on, what is asked of R2 is of a request; of several, if others come meanwhile.
pub(super) fn request_begins() {
    OF_REQUEST.set(0);
}

/// Whether R2 serves one more read.
pub(super) fn is_afforded() -> bool {
    OF_REQUEST.get() <= AFFORDED.get()
}

/// Counts what costs something.
pub(super) fn count(what: &'static str, count: u64) {
    if what.starts_with("r2_") {
        OF_ALARM.set(OF_ALARM.get().saturating_add(count));
        OF_REQUEST.set(OF_REQUEST.get().saturating_add(count));
    }
    COUNTS.with_borrow_mut(|counts| {
        let counted = counts.entry(what).or_default();
        *counted = counted.saturating_add(count);
    });
}

impl Fault {
    pub(super) fn of(parts: &[&str]) -> Result<Self, Failure> {
        match parts {
            ["panic"] => Ok(Self::Panic),
            ["conformance", db] => Ok(Self::Conformance(Db::parse(db)?)),
            ["plant", key @ ..] => Ok(Self::Plant(key.join("/"))),
            ["uproot", key @ ..] => Ok(Self::Uproot(key.join("/"))),
            ["arm", point, "panic"] => Ok(Self::Arm((*point).to_owned(), End::Panic)),
            ["arm", point, "hang"] => Ok(Self::Arm((*point).to_owned(), End::Hang)),
            ["arm", point, "wait"] => Ok(Self::Arm((*point).to_owned(), End::Wait)),
            ["go_on"] => Ok(Self::GoOn),
            ["ahead", by] => Ok(Self::Ahead(by.parse().unwrap_or_default())),
            ["most", segments] => Ok(Self::Most(segments.parse().unwrap_or(usize::MAX))),
            ["afford", requests] => Ok(Self::Afford(requests.parse().unwrap_or(u64::MAX))),
            ["reached"] => Ok(Self::Reached),
            ["counts"] => Ok(Self::Counts),
            ["keys"] => Ok(Self::Keys),
            ["alarm", db] => Ok(Self::Alarm(Db::parse(db)?)),
            ["memory"] => Ok(Self::Memory),
            ["prove", times] => Ok(Self::Prove(times.parse().unwrap_or(1))),
            ["unpack", times] => Ok(Self::Unpack(times.parse().unwrap_or(1))),
            _ => Err(Failure::new(404, "unknown_route", "There is no such fault.")),
        }
    }
}

pub(super) async fn run(fault: Fault, env: &Env, request: &Request) -> Result<Response, Failure> {
    let bucket = super::bucket(env, super::BUCKET)?;
    match fault {
        Fault::Alarm(db) => return super::ask(env, &db, Request::from(Clone::clone(request.inner()))).await,
        Fault::Panic => panic!("a panic was asked for"),
        Fault::Conformance(db) => conformance::run(&R2Store::open(env, db)?).await,
        Fault::Plant(key) => {
            let mut put = bucket.put(key, body_of(request).await?);
            if let Some(time) = request.headers().get("Litestream-Timestamp")? {
                put = put.custom_metadata([("litestream-timestamp".to_owned(), time)]);
            }
            put.execute().await?;
        }
        Fault::Uproot(key) => bucket.delete(key).await?,
        Fault::Keys => {
            let objects = bucket.list().execute().await?.objects();
            let keys: Vec<String> = objects.iter().map(worker::Object::key).collect();
            return Ok(Response::from_json(&keys)?);
        }
        Fault::Arm(point, end) => ARMED.set(Some((point, end))),
        Fault::GoOn => GONE_ON.set(GONE_ON.get().saturating_add(1)),
        Fault::Ahead(by) => AHEAD.set(AHEAD.get().saturating_add(by)),
        Fault::Most(segments) => MOST.set(Some(segments)),
        Fault::Afford(requests) => AFFORDED.set(requests),
        Fault::Counts => return Ok(Response::from_json(&COUNTS.take())?),
        Fault::Reached => return Ok(Response::from_json(&REACHED.get())?),
        Fault::Prove(times) => {
            let (segment, id, _) = segment_of(request).await?;
            for _ in 0..times {
                let mut intake = Intake::new(id);
                intake.push(&segment)?;
                intake.finish()?;
            }
        }
        Fault::Unpack(times) => {
            let (segment, _, header) = segment_of(request).await?;
            let (_, entries) = index::of(&segment)?;
            let (mut decompressor, mut page) = (Decompressor::default(), vec![0; header.page_size.len()]);
            for entry in (0..times).flat_map(|_| &entries) {
                let start = usize::try_from(entry.offset).unwrap_or(usize::MAX);
                let frame = segment.get(start..start.saturating_add(entry.len as usize));
                decode_frame(
                    frame.unwrap_or_default(),
                    entry.pgno,
                    &mut decompressor,
                    &mut page,
                )?;
            }
        }
        Fault::Memory => {
            return Ok(Response::from_json(
                &core::arch::wasm32::memory_size(0).saturating_mul(65_536),
            )?);
        }
    }
    Ok(Response::from_json(&"done")?)
}

async fn body_of(request: &Request) -> Result<Vec<u8>, Failure> {
    let size = declared_size(request)?;
    let mut body = Body::of(request);
    body.expect(size, gate::enter(size)?);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn segment_of(request: &Request) -> Result<(Vec<u8>, SegmentId, Header), Failure> {
    let bytes = body_of(request).await?;
    let start = bytes
        .first_chunk()
        .ok_or_else(|| Failure::invalid_segment("it is empty"))?;
    let header = Header::parse(start)?;
    let id = SegmentId {
        level: Level::RAW,
        min: header.min_txid,
        max: header.max_txid,
    };
    Ok((bytes, id, header))
}
