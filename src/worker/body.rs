//! The body of an upload.

use futures_util::StreamExt;
use worker::{ByteStream, Request};

use super::failure::Failure;
use super::gate::Permit;

/// What is read of a body that nobody wants.
const MAX_DRAINED: usize = 1 << 20;

/// Its chunks as they arrive, which must add up to the declared length.
#[derive(Debug)]
pub(super) struct Body {
    /// `None` if there is no body at all, or its end was reached.
    stream: Option<ByteStream>,
    size: u64,
    seen: u64,
    permit: Option<Permit>,
}

impl Body {
    pub(super) fn of(request: &mut Request) -> Self {
        Self {
            stream: request.stream().ok(),
            size: 0,
            seen: 0,
            permit: None,
        }
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
        let chunk = match &mut self.stream {
            Some(stream) => stream.next().await,
            None => None,
        };
        match chunk {
            Some(Ok(chunk)) => {
                self.seen = self.seen.saturating_add(chunk.len() as u64);
                if self.seen > self.size {
                    Err(self.wrong_length())
                } else {
                    Ok(Some(chunk))
                }
            }
            Some(Err(error)) => Err(Failure::bad_request(
                "body_cut_off",
                format!(
                    "The body broke off after {} of {} bytes ({error}).",
                    self.seen, self.size
                ),
            )),
            None => {
                self.stream = None;
                if self.seen < self.size {
                    Err(self.wrong_length())
                } else {
                    Ok(None)
                }
            }
        }
    }

    /// Reads the rest of it, before a refusal: who still sends while the answer comes may see a broken connection
    /// instead. Only a short rest of a body that was not expected.
    pub(super) async fn drain(mut self) {
        let expected = self.permit.is_some();
        let mut rest = 0usize;
        while (expected || rest < MAX_DRAINED)
            && let Some(stream) = &mut self.stream
            && let Some(Ok(chunk)) = stream.next().await
        {
            rest = rest.saturating_add(chunk.len());
        }
    }

    fn wrong_length(&self) -> Failure {
        let message = format!(
            "The body has not the {} bytes that Content-Length says.",
            self.size
        );
        Failure::bad_request("wrong_length", message)
    }
}
