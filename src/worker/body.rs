//! The body of an upload.

use futures_util::StreamExt;
use worker::{ByteStream, Request};

use super::failure::Failure;
use super::gate::Permit;

/// Its chunks as they arrive, which must add up to the declared length.
#[derive(Debug)]
pub(super) struct Body {
    /// `None` if there is no body at all.
    stream: Option<ByteStream>,
    size: u64,
    seen: u64,
    /// Held as long as the body is.
    permit: Permit,
}

impl Body {
    pub(super) fn of(request: &mut Request, size: u64, permit: Permit) -> Self {
        Self {
            stream: request.stream().ok(),
            size,
            seen: 0,
            permit,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next chunk; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.permit.renew();
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
            None if self.seen < self.size => Err(self.wrong_length()),
            None => Ok(None),
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
