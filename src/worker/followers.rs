//! Who follows a database live: WebSockets that the runtime holds while the object sleeps.
//!
//! A message is text or bytes. Bytes are a segment, whole, as it landed; its header says what it goes on from, and leads
//! to. Text is `{"position","segment"}`: where the replica stands now, and by which segment if that is too long to be
//! pushed; at the start, and after a rebuild, there is no segment. A follower that has missed something asks for a plan.

use serde::Serialize;
use worker::worker_sys::ext::WebSocketExt;
use worker::{Date, Response, State, WebSocket, WebSocketPair};

use super::failure::Failure;
use crate::replica::{Position, SegmentInfo};

/// Segments up to this length are pushed.
pub(super) const PUSHED: usize = 64 * 1024;
/// How many may follow one database.
const MAX_FOLLOWERS: usize = 1000;
/// The protocol's name; beside it a client may send its token as another protocol.
pub(super) const PROTOCOL: &str = "walferry.v1";
/// The token's time is over; of the codes that are free for applications.
const EXPIRED: u16 = 4401;

/// The followers of one database.
#[derive(Debug)]
pub(super) struct Followers {
    state: State,
}

#[derive(Serialize)]
struct Announcement<'a> {
    position: Position,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<&'a SegmentInfo>,
}

impl Followers {
    pub(super) fn new(state: State) -> Self {
        // Who wants to know whether the connection lives sends `ping`, and the object sleeps on.
        if let Ok(ping) = worker::WebSocketRequestResponsePair::new("ping", "pong") {
            state.set_websocket_auto_response(&ping);
        }
        Self { state }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.state.get_websockets().len()
    }

    /// Takes one more, whose token is over at `expires`, and tells where the replica stands.
    pub(super) fn join(&self, expires: u64, position: Position) -> Result<Response, Failure> {
        if self.state.get_websockets().len() >= MAX_FOLLOWERS {
            let message = format!("There are {MAX_FOLLOWERS} followers already; try again later.");
            return Err(Failure::passing("followers_busy", message));
        }
        let WebSocketPair { client, server } = WebSocketPair::new()?;
        self.state.accept_web_socket(&server);
        set_expiry(&server, expires)?;
        server.send_with_str(announcement(position, None)?)?;
        let mut response = Response::from_websocket(client)?;
        response.headers_mut().set("Sec-WebSocket-Protocol", PROTOCOL)?;
        Ok(response)
    }

    /// Tells all of them that the replica has moved, by this segment; its bytes, if they are at hand and short. Nobody
    /// waits for a follower: one that cannot be told has gone.
    pub(super) fn tell(&self, position: Position, segment: Option<(&SegmentInfo, Option<&[u8]>)>) {
        let bytes = segment.and_then(|(_, bytes)| bytes);
        let text = announcement(position, segment.map(|(info, _)| info)).unwrap_or_default();
        for socket in self.state.get_websockets() {
            if has_expired(&socket) {
                let _ = socket.close(Some(EXPIRED), Some("the token has expired"));
            } else if let Some(bytes) = bytes {
                let _ = socket.send_with_bytes(bytes);
            } else {
                let _ = socket.send_with_str(&text);
            }
        }
    }
}

/// Lets the time when its token is over, in Unix seconds, go to sleep with a socket: as JavaScript's number, for what turns
/// anything into JavaScript's values is 12 kB.
fn set_expiry(socket: &WebSocket, expires: u64) -> Result<(), Failure> {
    let set = socket.as_ref().serialize_attachment((expires as f64).into());
    Ok(set.map_err(worker::Error::from)?)
}

fn has_expired(socket: &WebSocket) -> bool {
    let expires = socket.as_ref().deserialize_attachment().ok();
    let expires = expires.and_then(|expires| expires.as_f64());
    expires.is_none_or(|expires| expires * 1000.0 <= Date::now().as_millis() as f64)
}

fn announcement(position: Position, segment: Option<&SegmentInfo>) -> Result<String, Failure> {
    serde_json::to_string(&Announcement { position, segment })
        .map_err(|_| Failure::passing("runtime_fault", "The position cannot be told."))
}
