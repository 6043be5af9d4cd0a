//! One request: tried again while its failure may pass, its refusal as a sentence.

use std::ops::Range;

use bytes::Bytes;
use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, Headers, RequestCache, RequestCredentials, RequestInit, Response, WorkerGlobalScope,
    XmlHttpRequest, XmlHttpRequestResponseType,
};

use super::json;
use crate::replica::Position;
use crate::store::{Error, Result};

/// Waits between attempts.
const PAUSES: [i32; 3] = [200, 600, 1800];
/// No answer after this is a failure, and so much more for each MiB that is asked for: milliseconds.
const TIMEOUT: u32 = 60_000;

pub(super) struct Request<'a> {
    pub(super) url: String,
    pub(super) token: &'a str,
    /// Of the object, if not all.
    pub(super) range: Option<Range<u64>>,
    pub(super) signal: Option<&'a AbortSignal>,
    /// Whether only its size is asked for.
    pub(super) head: bool,
}

pub(super) struct Answer {
    pub(super) url: String,
    pub(super) body: Bytes,
    /// The header that was asked for: where the replica stands, or with `head` how long the object is.
    pub(super) told: Option<String>,
}

impl Answer {
    /// Where the replica stood.
    pub(super) fn position(&self) -> Option<Position> {
        let (txid, sum) = self.told.as_deref()?.split_once('/')?;
        Some(Position {
            txid: txid.parse().ok()?,
            sum: sum.parse().ok(),
        })
    }
}

impl Request<'_> {
    pub(super) async fn send(&self) -> Result<Answer> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.attempt().await {
                Err(error) if error.is_passing() => error,
                result => return result,
            };
            match pauses.next() {
                Some(pause) if !self.signal.is_some_and(AbortSignal::aborted) => sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// The same without waiting; it is tried once more at the most.
    pub(super) fn send_at_once(&self) -> Result<Answer> {
        match self.attempt_at_once() {
            Err(error) if error.is_passing() => self.attempt_at_once(),
            result => result,
        }
    }

    fn attempt_at_once(&self) -> Result<Answer> {
        let unreachable = |error: JsValue| Error::Unavailable(self.unreachable(&error));
        let request = XmlHttpRequest::new().map_err(unreachable)?;
        request
            .open_with_async(self.method(), &self.url, false)
            .map_err(|error| self.invalid(&error))?;
        request.set_response_type(XmlHttpRequestResponseType::Arraybuffer);
        request.set_timeout(self.timeout());
        for (name, value) in self.headers() {
            request
                .set_request_header(name, &value)
                .map_err(|error| self.invalid(&error))?;
        }
        request.send().map_err(unreachable)?;
        let body = Bytes::from(Uint8Array::new(&request.response().map_err(unreachable)?).to_vec());
        let told = request.get_response_header(self.asked()).ok().flatten();
        self.answer(request.status().unwrap_or_default(), body, told)
    }

    async fn attempt(&self) -> Result<Answer> {
        let unreachable = |error: JsValue| Error::Unavailable(self.unreachable(&error));
        let response = JsFuture::from(self.fetch()?).await.map_err(unreachable)?;
        let response: Response = response.unchecked_into();
        let body = response.array_buffer().map_err(unreachable)?;
        let body = JsFuture::from(body).await.map_err(unreachable)?;
        let body = Bytes::from(Uint8Array::new(&body).to_vec());
        let told = response.headers().get(self.asked()).ok().flatten();
        self.answer(response.status(), body, told)
    }

    fn answer(&self, status: u16, body: Bytes, told: Option<String>) -> Result<Answer> {
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, &body));
        }
        let expected = if self.range.is_some() { 206 } else { 200 };
        if status != expected {
            return Err(Error::Protocol(format!(
                "{} answered with status {status} instead of {expected}",
                self.url
            )));
        }
        Ok(Answer {
            url: self.url.clone(),
            body,
            told,
        })
    }

    fn method(&self) -> &'static str {
        if self.head { "HEAD" } else { "GET" }
    }

    fn asked(&self) -> &'static str {
        if self.head {
            "content-length"
        } else {
            "walferry-position"
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let token = (!self.token.is_empty()).then(|| ("Authorization", format!("Bearer {}", self.token)));
        let range = self.range.as_ref().map(|range| {
            let last = range.end.saturating_sub(1);
            ("Range", format!("bytes={}-{last}", range.start))
        });
        token.into_iter().chain(range)
    }

    fn invalid(&self, _: &JsValue) -> Error {
        Error::Denied(format!(
            "{} cannot be asked: the address or the token holds characters that are not allowed there",
            self.url
        ))
    }

    fn fetch(&self) -> Result<Promise> {
        let headers = Headers::new().map_err(|error| self.invalid(&error))?;
        for (name, value) in self.headers() {
            headers.set(name, &value).map_err(|error| self.invalid(&error))?;
        }
        let options = RequestInit::new();
        options.set_method(self.method());
        options.set_headers(&headers);
        // What was fetched is kept in OPFS; the browser's cache would be a second copy.
        options.set_cache(RequestCache::NoStore);
        options.set_credentials(RequestCredentials::Omit);
        let timeout = AbortSignal::timeout_with_u32(self.timeout());
        let signal = match self.signal {
            Some(signal) => AbortSignal::any(&Array::of2(signal, &timeout)),
            None => timeout,
        };
        options.set_signal(Some(&signal));
        Ok(scope().fetch_with_str_and_init(&self.url, &options))
    }

    fn timeout(&self) -> u32 {
        let len = self
            .range
            .as_ref()
            .map_or(0, |range| range.end.saturating_sub(range.start));
        let longer = u32::try_from(len >> 20).unwrap_or(0).saturating_mul(TIMEOUT);
        TIMEOUT.saturating_add(longer)
    }

    fn unreachable(&self, error: &JsValue) -> String {
        let host = self.url.split("/v1/").next().unwrap_or(&self.url);
        let why = error
            .dyn_ref::<js_sys::Error>()
            .map_or_else(String::new, |error| error.message().into());
        format!(
            "{host} cannot be reached ({why}): is the address right, is it running, does it admit this page?"
        )
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Error {
        let message = json::message(body);
        let message = message.unwrap_or_else(|| format!("{} answered with status {status}", self.url));
        match status {
            401 | 403 => Error::Denied(message),
            404 => Error::NotFound(self.url.clone()),
            409 => Error::Refused(message),
            416 => Error::OutOfRange(self.url.clone()),
            408 | 429 | 500.. => Error::Unavailable(message),
            _ => Error::Protocol(message),
        }
    }
}

fn scope() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}

async fn sleep(milliseconds: i32) {
    let promise = Promise::new(&mut |resolve: Function, _| {
        let _ = scope().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, milliseconds);
    });
    let _ = JsFuture::from(promise).await;
}
