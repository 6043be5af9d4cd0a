//! What a Worker's isolate does, as the debugger of workerd tells it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use reqwest::header::{CONNECTION, UPGRADE};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Samples a second.
const SAMPLES: u32 = 4000;

/// A profile that is being taken (Chrome DevTools protocol, domain Profiler).
pub struct Profiler {
    socket: WebSocketStream<Upgraded>,
    calls: u64,
}

impl Profiler {
    /// Of the Worker that was started with `--inspect` on this port.
    pub async fn start(port: u16) -> Self {
        let client = reqwest::Client::new();
        let list = client
            .get(format!("http://127.0.0.1:{port}/json"))
            .send()
            .await
            .unwrap();
        let list: Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
        let ours = list
            .as_array()
            .unwrap()
            .iter()
            .find(|isolate| isolate["id"].as_str().unwrap().ends_with("core:user:"));
        let url = ours.expect("the Worker is among them")["webSocketDebuggerUrl"]
            .as_str()
            .unwrap()
            .replace("ws://", "http://");
        let request = client
            .get(url)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let upgraded = request.send().await.unwrap().upgrade().await.unwrap();
        // A profile is one message.
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let mut profiler = Self {
            socket: WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await,
            calls: 0,
        };
        profiler.call("Profiler.enable", json!({})).await;
        let interval = 1_000_000 / SAMPLES;
        profiler
            .call("Profiler.setSamplingInterval", json!({ "interval": interval }))
            .await;
        profiler.call("Profiler.start", json!({})).await;
        profiler
    }

    /// The time that the isolate was not idle, its garbage collection included.
    pub async fn stop(mut self) -> Duration {
        let profile = &self.call("Profiler.stop", json!({})).await["profile"];
        let names: HashMap<u64, &str> = profile["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| {
                (
                    node["id"].as_u64().unwrap(),
                    node["callFrame"]["functionName"].as_str().unwrap(),
                )
            })
            .collect();
        let samples = profile["samples"].as_array().unwrap().iter();
        let times = profile["timeDeltas"].as_array().unwrap().iter();
        let busy = samples
            .zip(times)
            .filter(|(sample, _)| names[&sample.as_u64().unwrap()] != "(idle)")
            .map(|(_, time)| time.as_i64().unwrap())
            .sum::<i64>();
        Duration::from_micros(busy.try_into().unwrap())
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": params });
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        loop {
            let Message::Text(text) = self.socket.next().await.unwrap().unwrap() else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }
}
