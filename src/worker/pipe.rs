//! A stream of known length, into R2 or to a client, written piece by piece.

use worker::js_sys::{BigInt, Error, Promise, Uint8Array};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen_futures::JsFuture;
use worker::web_sys::{ReadableStream, WritableStreamDefaultWriter};
use worker::worker_sys::FixedLengthStream;

/// Its writing end. R2 creates the object only when all bytes have come: aborted or left before, there is none.
///
/// That the other end has gone is no error here: who reads it knows better why.
#[derive(Debug)]
pub(super) struct Pipe {
    writer: WritableStreamDefaultWriter,
}

impl Pipe {
    /// A pipe for exactly `len` bytes, and the end that R2 reads.
    pub(super) fn new(len: u64) -> worker::Result<(Self, ReadableStream)> {
        let stream = FixedLengthStream::new_big_int(BigInt::from(len))?;
        let writer = stream.writable().get_writer()?;
        Ok((Self { writer }, stream.readable()))
    }

    /// Returns when the bytes are taken, so that no more than one piece is ever on its way; false if nobody will.
    pub(super) async fn write(&self, bytes: &[u8]) -> bool {
        bytes.is_empty() || settled(self.writer.write_with_chunk(&Uint8Array::from(bytes))).await
    }

    pub(super) async fn close(&self) {
        settled(self.writer.close()).await;
    }

    /// Takes everything back.
    pub(super) async fn abort(&self) {
        let reason = JsValue::from(Error::new("the segment is refused"));
        settled(self.writer.abort_with_reason(&reason)).await;
    }
}

async fn settled(promise: Promise) -> bool {
    JsFuture::from(promise).await.is_ok()
}
