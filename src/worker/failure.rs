//! What goes wrong, as a client sees it.

use serde::Serialize;
use worker::Response;

use crate::ltx;
use crate::replica::Position;
use crate::{restore, store};

/// A refusal or a fault: a status, a code for programs, a sentence for people.
///
/// In a box: it stands in nearly every result, and all of them are moved.
#[derive(Debug)]
pub(super) struct Failure(Box<Told>);

#[derive(Debug)]
struct Told {
    status: u16,
    code: &'static str,
    message: String,
    /// Where the replica stands, if that is why.
    head: Option<Position>,
    headers: Vec<(&'static str, String)>,
}

impl Failure {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Told {
            status,
            code,
            message: message.into(),
            head: None,
            headers: Vec::new(),
        }))
    }

    /// The request is not of the protocol.
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// The upload's content is refused, wherever the replica stands.
    pub(super) fn invalid_segment(why: impl std::fmt::Display) -> Self {
        Self::new(422, "invalid_segment", format!("The segment is refused: {why}."))
    }

    /// The upload does not go on where the replica stands.
    pub(super) fn position_mismatch(head: Position, why: impl std::fmt::Display) -> Self {
        let message = format!("The replica stands at {head}: {why}.");
        Self::new(409, "position_mismatch", message).with_head(head)
    }

    /// The same request may succeed in a moment.
    pub(super) fn passing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(503, code, message).with_header("Retry-After", "1")
    }

    /// The replica has not come to what the request wants to see.
    pub(super) fn not_yet(head: Position, wanted: crate::ltx::Txid) -> Self {
        let message =
            format!("The replica stands at {head}, and did not come to transaction {wanted} in time.");
        Self::passing("not_there_yet", message).with_head(head)
    }

    /// Whether sending the same again may succeed: nothing is wrong with what was sent, as far as it came.
    pub(super) fn is_passing(&self) -> bool {
        self.0.status == 503 || matches!(self.0.code, "body_cut_off" | "wrong_length")
    }

    /// The word for programs.
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence.
    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    /// With another word for programs.
    pub(super) fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// Tells where the replica stands.
    pub(super) fn with_head(mut self, head: Position) -> Self {
        self.0.head = Some(head);
        self
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_response(self) -> worker::Result<Response> {
        let body = Body {
            error: Detail {
                code: self.0.code,
                message: &self.0.message,
                head: self.0.head,
            },
        };
        let mut response = Response::from_json(&body)?.with_status(self.0.status);
        let headers = response.headers_mut();
        headers.set("Cache-Control", "no-store")?;
        for (name, value) in &self.0.headers {
            headers.set(name, value)?;
        }
        Ok(response)
    }
}

/// The JSON of every answer that is an error.
#[derive(Serialize)]
struct Body<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Position>,
}

impl From<ltx::Error> for Failure {
    fn from(error: ltx::Error) -> Self {
        Self::invalid_segment(error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound(what) => Self::new(404, "not_found", format!("There is no {what}.")),
            other => Self::passing(
                "storage_unavailable",
                format!("The storage did not serve: {other}."),
            ),
        }
    }
}

/// Why a state cannot be had.
impl From<restore::Error> for Failure {
    fn from(error: restore::Error) -> Self {
        match error {
            restore::Error::Plan(error) => Self::new(
                404,
                "no_plan",
                format!("There is no way to restore that: {error}."),
            ),
            restore::Error::Store(error) => error.into(),
            // Deleted while it was looked at: planned again, the same state is found elsewhere.
            restore::Error::Missing(_) => Self::passing("replica_moved", format!("{error}; try again.")),
            error => Self::new(
                500,
                "replica_damaged",
                format!("That cannot be restored: {error}."),
            ),
        }
    }
}

/// From the runtime's interfaces: nothing a client sends makes them fail.
impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        Self::passing(
            "runtime_fault",
            format!("The Workers runtime did not serve: {error}."),
        )
    }
}
