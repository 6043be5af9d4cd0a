//! A TCP proxy before the S3 server that makes the faults of a network: it cuts connections, answers in the server's
//! place, serves one request at a time.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// The connection is cut before the server hears of it.
    Cut,
    /// The server does it, and its answer is lost.
    Unheard,
    /// So many bytes of the answer's body come, then the connection is cut.
    Short(usize),
    /// The server never hears of the condition, as if it did not know any.
    Unconditional,
    /// The server's answer, dated otherwise.
    Dated(&'static str),
    /// A status in the server's place, with a code.
    Answer(u16, &'static str),
}

/// What is known of a request when its fate is decided.
#[derive(Clone, Debug)]
pub struct Head {
    /// Counted over all connections.
    pub number: usize,
    /// `PUT /bucket/key?query`
    pub line: String,
    pub headers: String,
}

type Decide = dyn Fn(&Head) -> Fate + Send + Sync;

pub struct Proxy {
    pub port: u16,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Head>>>,
    /// Bytes of bodies that were passed on to clients.
    passed: Arc<AtomicU64>,
}

impl Proxy {
    /// In front of the server at `to`. One request at a time is passed on.
    pub fn start(to: u16, decide: impl Fn(&Head) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let decide: Arc<Decide> = Arc::new(decide);
        let (count, turn) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(())));
        let passed = Arc::<AtomicU64>::default();
        let connection = (Arc::clone(&ended), Arc::clone(&seen), Arc::clone(&passed));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (ended, seen) = (Arc::clone(&connection.0), Arc::clone(&connection.1));
                let passed = Arc::clone(&connection.2);
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (decide, count, turn) = (Arc::clone(&decide), Arc::clone(&count), Arc::clone(&turn));
                std::thread::spawn(move || {
                    let number = || count.fetch_add(1, Ordering::Relaxed);
                    // A connection that breaks is what this is for.
                    let _ = serve(client, to, number, &*decide, &turn, &seen, &passed);
                });
            }
        });
        Self {
            port,
            ended,
            seen,
            passed,
        }
    }

    /// How many bytes of answers' bodies clients were sent.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// The requests that came.
    pub fn seen(&self) -> Vec<Head> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut client: TcpStream,
    to: u16,
    number: impl Fn() -> usize,
    decide: &Decide,
    turn: &Mutex<()>,
    seen: &Mutex<Vec<Head>>,
    passed: &AtomicU64,
) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    client.set_nodelay(true)?;
    loop {
        let (mut head, body) = message(&mut client, false)?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let (line, headers) = text.split_once("\r\n").unwrap_or((&text, ""));
        let request = Head {
            number: number(),
            line: line.to_owned(),
            headers: headers.to_ascii_lowercase(),
        };
        seen.lock().unwrap().push(request.clone());
        let fate = decide(&request);
        match fate {
            Fate::Cut => return client.shutdown(Shutdown::Both),
            Fate::Answer(status, code) => {
                let xml = format!("<Error><Code>{code}</Code><Message>by the proxy</Message></Error>");
                let xml = if line.starts_with("HEAD") {
                    String::new()
                } else {
                    xml
                };
                write!(
                    client,
                    "HTTP/1.1 {status} x\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{xml}",
                    xml.len()
                )?;
                continue;
            }
            Fate::Unconditional => {
                let lines = text.split("\r\n");
                let kept: Vec<&str> = lines
                    .filter(|line| !line.to_ascii_lowercase().starts_with("if-none-match"))
                    .collect();
                head = kept.join("\r\n").into_bytes();
            }
            Fate::Pass | Fate::Unheard | Fate::Short(_) | Fate::Dated(_) => {}
        }
        let (mut answer, body) = {
            let _turn = turn.lock().unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", to))?;
            server.set_nodelay(true)?;
            server.write_all(&head)?;
            server.write_all(&body)?;
            message(&mut server, line.starts_with("HEAD"))?
        };
        if fate == Fate::Unheard {
            return client.shutdown(Shutdown::Both);
        }
        if let Fate::Dated(date) = fate {
            let text = String::from_utf8_lossy(&answer);
            let lines = text.split_inclusive("\r\n").map(|line| {
                match line.to_ascii_lowercase().starts_with("date:") {
                    true => format!("date: {date}\r\n"),
                    false => line.to_owned(),
                }
            });
            answer = lines.collect::<String>().into_bytes();
        }
        let sent = match fate {
            Fate::Short(len) => body.len().min(len),
            _ => body.len(),
        };
        answer.extend(&body[..sent]);
        client.write_all(&answer)?;
        passed.fetch_add(sent as u64, Ordering::Relaxed);
        if matches!(fate, Fate::Short(_)) {
            return client.shutdown(Shutdown::Both);
        }
    }
}

/// Reads a request or an answer: its head, the empty line included, and its body.
fn message(from: &mut TcpStream, without_body: bool) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let mut more = |bytes: &mut Vec<u8>| match from.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            bytes.extend_from_slice(&buffer[..read]);
            Ok::<(), io::Error>(())
        }
    };
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(&mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    if without_body {
    } else if let Some(len) = header("content-length:") {
        while bytes.len() < end + len.parse::<usize>().unwrap() {
            more(&mut bytes)?;
        }
    } else if header("transfer-encoding:").is_some() {
        while !bytes.ends_with(b"0\r\n\r\n") {
            more(&mut bytes)?;
        }
    }
    let body = bytes.split_off(end);
    Ok((bytes, body))
}
