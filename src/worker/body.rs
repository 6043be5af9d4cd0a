//! The body of an upload.

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::Request;
use worker::js_sys::{Object, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen_futures::JsFuture;
use worker::web_sys::ReadableStream;

use super::failure::Failure;
use super::gate::Permit;

/// What is read at once. (The runtime's own chunks have 4 KiB: most of the time would go into asking for them.)
const CHUNK: u32 = 64 * 1024;
/// What is read of a body that is not welcome.
const MAX_DRAINED: u64 = 1 << 20;

/// Its chunks as they arrive, which must add up to the declared length.
#[derive(Debug)]
pub(super) struct Body {
    reader: Option<Reader>,
    size: u64,
    seen: u64,
    permit: Option<Permit>,
    is_welcome: bool,
}

impl Body {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            reader: request.inner().body().and_then(Reader::of),
            size: 0,
            seen: 0,
            permit: None,
            is_welcome: false,
        }
    }

    /// Says that the client may send it.
    pub(super) fn welcome(&mut self) {
        self.is_welcome = true;
    }

    /// Says how long it will be, and what allows to hold some of it in memory.
    pub(super) fn expect(&mut self, size: u64, permit: Permit) {
        self.size = size;
        self.permit = Some(permit);
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next chunk; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(permit) = &self.permit {
            permit.renew();
        }
        let chunk = self.read().await.map_err(|error| {
            let message = format!(
                "The body broke off after {} of {} bytes ({error}).",
                self.seen, self.size
            );
            Failure::bad_request("body_cut_off", message)
        })?;
        self.seen = self
            .seen
            .saturating_add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
        if self.seen > self.size || (chunk.is_none() && self.seen < self.size) {
            let message = format!(
                "The body has not the {} bytes that Content-Length says.",
                self.size
            );
            return Err(Failure::bad_request("wrong_length", message));
        }
        Ok(chunk)
    }

    /// Reads the rest of it, before a refusal: who still sends while the answer comes may see a broken connection
    /// instead. Of a body that is not welcome, only a short rest.
    pub(super) async fn drain(mut self) {
        let mut rest = 0u64;
        while (self.is_welcome || rest < MAX_DRAINED)
            && let Ok(Some(chunk)) = self.read().await
        {
            rest = rest.saturating_add(chunk.len() as u64);
        }
    }

    async fn read(&mut self) -> worker::Result<Option<Vec<u8>>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let chunk = reader.read().await;
        if !matches!(chunk, Ok(Some(_))) {
            self.reader = None;
        }
        chunk
    }
}

/// Reads into one buffer that goes to the runtime and back.
#[derive(Debug)]
struct Reader {
    js: ByobReader,
    buffer: Uint8Array,
}

#[wasm_bindgen]
extern "C" {
    /// `ReadableStreamBYOBReader` as workerd has it.
    #[derive(Debug)]
    type ByobReader;

    #[wasm_bindgen(method, js_name = readAtLeast)]
    fn read_at_least(this: &ByobReader, bytes: u32, into: &Uint8Array) -> Promise;

    type StreamWithReader;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    fn get_reader(this: &StreamWithReader, options: &Object) -> Result<ByobReader, wasm_bindgen::JsValue>;
}

impl Reader {
    fn of(stream: ReadableStream) -> Option<Self> {
        let options = Object::new();
        Reflect::set(&options, &"mode".into(), &"byob".into()).ok()?;
        let js = stream
            .unchecked_into::<StreamWithReader>()
            .get_reader(&options)
            .ok()?;
        Some(Self {
            js,
            buffer: Uint8Array::new_with_length(CHUNK),
        })
    }

    /// A full buffer, or what there is before the end.
    async fn read(&mut self) -> worker::Result<Option<Vec<u8>>> {
        let result = JsFuture::from(self.js.read_at_least(CHUNK, &self.buffer)).await?;
        let value = Reflect::get(&result, &"value".into())?;
        let Ok(chunk) = value.dyn_into::<Uint8Array>() else {
            return Ok(None);
        };
        self.buffer = Uint8Array::new(&chunk.buffer());
        let bytes = chunk.to_vec();
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}
