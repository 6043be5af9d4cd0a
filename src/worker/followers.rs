//! Who follows a database live: WebSockets that the runtime holds while the object sleeps.
//!
//! A message is text or bytes. Bytes are a segment, whole, as it landed; its header says what it goes on from, and leads
//! to. Text is `{"position","segment"}`: where the replica stands now, and by which segment if that is too long to be
//! pushed; at the start, and after a rebuild, there is no segment. A follower that has missed something asks for a plan.
//! A connection that has carried enough is closed, and the follower joins again.

use serde::Serialize;
use worker::js_sys::Array;
use worker::wasm_bindgen::JsCast;
use worker::worker_sys::ext::WebSocketExt;
use worker::{Date, Response, State, WebSocket, WebSocketPair};

use super::failure::Failure;
use crate::replica::{Position, SegmentInfo};

/// Segments up to this length are pushed.
pub(super) const PUSHED: usize = 64 * 1024;
/// How many may follow one database.
const MAX_FOLLOWERS: usize = 1000;
/// So many bytes are sent on one connection, less if there are many; then the follower joins again. No word comes of what it
/// has read, and what it has not is in memory.
const MAX_SENT: usize = 1 << 20;
const MIN_SENT: usize = 128 << 10;
/// On all of them together.
const ALL_SENT: usize = 48 << 20;
/// The protocol's name; beside it a client may send its token as another protocol.
pub(super) const PROTOCOL: &str = "walferry.v1";
/// The token's time is over; of the codes that are free for applications.
const EXPIRED: u16 = 4401;
/// The connection has carried enough.
const JOIN_AGAIN: u16 = 4408;

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
        let attachment = Attachment {
            expires: expires as f64,
            sent: 0.0,
        };
        attachment.leave(&server)?;
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
        let sockets = self.state.get_websockets();
        let share = ALL_SENT.checked_div(sockets.len()).unwrap_or(ALL_SENT);
        let most = share.clamp(MIN_SENT, MAX_SENT) as f64;
        let len = bytes.map_or(text.len(), <[u8]>::len) as f64;
        for socket in sockets {
            let attachment = Attachment::of(&socket);
            let Some(mut attachment) = attachment.filter(|attachment| !attachment.has_expired()) else {
                let _ = socket.close(Some(EXPIRED), Some("the token has expired"));
                continue;
            };
            attachment.sent += len;
            if attachment.sent > most || attachment.leave(&socket).is_err() {
                let _ = socket.close(Some(JOIN_AGAIN), Some("join again"));
            } else if let Some(bytes) = bytes {
                let _ = socket.send_with_bytes(bytes);
            } else {
                let _ = socket.send_with_str(&text);
            }
        }
    }
}

/// What goes to sleep with a socket: as JavaScript's numbers, for what turns anything into JavaScript's values is 12 kB.
struct Attachment {
    /// When its token is over, in Unix seconds.
    expires: f64,
    /// Bytes that were sent on it.
    sent: f64,
}

impl Attachment {
    fn of(socket: &WebSocket) -> Option<Self> {
        let numbers = socket.as_ref().deserialize_attachment().ok()?;
        let numbers = numbers.dyn_into::<Array>().ok()?;
        Some(Self {
            expires: numbers.get(0).as_f64()?,
            sent: numbers.get(1).as_f64()?,
        })
    }

    fn leave(&self, socket: &WebSocket) -> Result<(), Failure> {
        let numbers = Array::of2(&self.expires.into(), &self.sent.into());
        let set = socket.as_ref().serialize_attachment(numbers.into());
        Ok(set.map_err(worker::Error::from)?)
    }

    fn has_expired(&self) -> bool {
        self.expires * 1000.0 <= Date::now().as_millis() as f64
    }
}

fn announcement(position: Position, segment: Option<&SegmentInfo>) -> Result<String, Failure> {
    serde_json::to_string(&Announcement { position, segment })
        .map_err(|_| Failure::passing("runtime_fault", "The position cannot be told."))
}
