//! `GET /v1/{db}/map`: where the pages of a state lie, for who reads some of them by ranges.

use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen_futures::JsFuture;
use worker::web_sys::{self, ReadableStream, WritableStream};
use worker::{Env, Request, Response, wasm_bindgen};

use super::failure::Failure;
use super::json::POSITION;
use super::query::Query;
use super::r2::R2Store;
use super::route::Db;
use super::{gate, plan};
use crate::restore;

/// Pages of a window, if nothing is said: 256 MiB of most databases.
const WINDOW: u32 = 64 * 1024;
/// The page that the next window starts with.
pub(super) const NEXT: &str = "Walferry-Next";
/// Indexes, entries, and the answer.
const MEMORY: u64 = 16 << 20;
const PARALLEL: usize = 4;

pub(super) async fn get(request: &Request, env: &Env, db: Db) -> Result<Response, Failure> {
    let query = Query::of(request, &["txid", "timestamp", "from", "to"])?;
    let target = query.target()?;
    let from = query.number("from", 1..=u32::MAX)?.unwrap_or(1);
    let to = query.number("to", from..=u32::MAX)?;
    let to = to.unwrap_or(from.saturating_add(WINDOW.saturating_sub(1)));
    let plan = match plan::ask(request, env, &db, target).await? {
        Ok(plan) => plan,
        Err(refusal) => return Ok(refusal),
    };
    let permit = gate::enter(MEMORY)?;
    let store = R2Store::open(env, db)?;
    let window = restore::map(&store, &plan, target, from..=to, PARALLEL).await?;
    let mut response = Response::from_bytes(packed(&window.unpacked()).await?)?;
    drop(permit);
    let headers = response.headers_mut();
    headers.set("Content-Type", "application/vnd.walferry.map")?;
    headers.set("Cache-Control", "no-store")?;
    headers.set(POSITION, &window.position.to_string())?;
    if let Some(next) = window.next() {
        headers.set(NEXT, &next.0.to_string())?;
    }
    Ok(response)
}

/// As a zlib stream, by the runtime: a compressor of ours would be 10 kB of wasm.
async fn packed(bytes: &[u8]) -> worker::Result<Vec<u8>> {
    let stream = CompressionStream::new("deflate");
    let writer = stream.writable().get_writer()?;
    // They settle while the other end is read; whether all came out, that end tells.
    let _ = writer.write_with_chunk(&Uint8Array::from(bytes));
    let _ = writer.close();
    let packed = web_sys::Response::new_with_opt_readable_stream(Some(&stream.readable()))?;
    let packed = JsFuture::from(packed.array_buffer()?).await?;
    Ok(Uint8Array::new(&packed).to_vec())
}

#[wasm_bindgen]
extern "C" {
    type CompressionStream;

    #[wasm_bindgen(constructor)]
    fn new(format: &str) -> CompressionStream;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &CompressionStream) -> ReadableStream;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &CompressionStream) -> WritableStream;
}
