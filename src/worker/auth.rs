//! Who may do what: a bearer's token, or one of two fixed secrets of the Worker.

use std::cell::OnceCell;
use std::rc::Rc;

use subtle::ConstantTimeEq;
use worker::{Date, Env, Request};

use super::failure::Failure;
use super::route::Db;
use crate::token::{Claims, Key, MIN_KEY_LEN, Refused, Scope};

/// The key that signs tokens, and the one before it: both are valid, so that keys can be changed while tokens are out.
const TOKEN_KEYS: [&str; 2] = ["WALFERRY_TOKEN_KEY", "WALFERRY_TOKEN_KEY_OLD"];
/// Fixed secrets, for a start: they are for every database, and last until they are changed.
const WRITE_TOKEN: &str = "WALFERRY_WRITE_TOKEN";
const READ_TOKEN: &str = "WALFERRY_READ_TOKEN";
/// A variable: databases that anyone may read, separated by commas.
const PUBLIC_DATABASES: &str = "WALFERRY_PUBLIC_DATABASES";

/// What a request needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    pub(super) scope: Scope,
    /// `None` is all of them.
    pub(super) db: Option<&'a Db>,
}

/// Lets the request pass if its token allows it; returns until when, in Unix seconds.
pub(super) fn authorize(request: &Request, env: &Env, need: Need<'_>) -> Result<u64, Failure> {
    let Need { scope, db } = need;
    let token = bearer(request);
    if token.is_none() && scope == Scope::Read && db.is_some_and(|db| is_public(env, db)) {
        return Ok(u64::MAX);
    }
    let credentials = Credentials::of(env)?;
    let Some(token) = token else {
        return Err(unauthorized(
            "token_missing",
            "A token is needed: send the header `Authorization: Bearer <token>`.",
        ));
    };
    let claims = credentials.claims(&token)?;
    let name = db.map_or_else(|| "*".to_owned(), Db::to_string);
    if !claims.covers(&name) {
        let message = if db.is_some() {
            format!(
                "This token is for the database {}, not for {name}.",
                claims.database
            )
        } else {
            format!(
                "This token is for the database {}; this needs one for all of them.",
                claims.database
            )
        };
        return Err(Failure::new(403, "token_for_another_database", message));
    }
    match (claims.scope, scope) {
        (has, needs) if has >= needs => Ok(claims.expires),
        (Scope::Read, Scope::Write) => Err(Failure::new(
            403,
            "write_token_needed",
            "This token may only read; writing needs a token with the scope write.",
        )),
        _ => Err(Failure::new(
            403,
            "admin_token_needed",
            "This token may not do that; it needs a token with the scope admin.",
        )),
    }
}

/// What tokens are held against.
struct Credentials {
    keys: Vec<Key>,
    write: Option<String>,
    read: Option<String>,
}

impl Credentials {
    /// Read once: a Worker with other secrets is another one.
    fn of(env: &Env) -> Result<Rc<Self>, Failure> {
        thread_local! {
            static READ: OnceCell<Rc<Credentials>> = const { OnceCell::new() };
        }
        READ.with(|read| match read.get() {
            Some(credentials) => Ok(Rc::clone(credentials)),
            None => {
                let credentials = Rc::new(Self::read(env)?);
                Ok(Rc::clone(read.get_or_init(|| credentials)))
            }
        })
    }

    fn read(env: &Env) -> Result<Self, Failure> {
        let secrets = TOKEN_KEYS.map(|name| secret(env, name).map(|value| (name, value)));
        let mut keys = Vec::new();
        for (name, value) in secrets.into_iter().flatten() {
            keys.push(Key::new(value.as_bytes()).ok_or_else(|| {
                let message = format!("{name} is too short: it needs {MIN_KEY_LEN} characters at least.");
                unauthorized("token_key_too_short", message)
            })?);
        }
        let (write, read) = (secret(env, WRITE_TOKEN), secret(env, READ_TOKEN));
        if keys.is_empty() && write.is_none() && read.is_none() {
            let message = format!(
                "This Worker lets nobody in until it has a key or a token: run `wrangler secret put {}`, or \
                 `wrangler secret put {WRITE_TOKEN}`.",
                TOKEN_KEYS[0]
            );
            return Err(unauthorized("no_token_configured", message));
        }
        Ok(Self { keys, write, read })
    }

    fn claims(&self, token: &str) -> Result<Claims, Failure> {
        let fixed = |scope| Claims {
            database: "*".to_owned(),
            scope,
            expires: u64::MAX,
        };
        // All comparisons are always made: time must not tell which secret a guess is close to.
        let is_write = is(self.write.as_deref(), token);
        let is_read = is(self.read.as_deref(), token);
        let signed = Claims::verify(token, &self.keys, Date::now().as_millis() / 1000);
        match signed {
            _ if is_write => Ok(fixed(Scope::Admin)),
            _ if is_read => Ok(fixed(Scope::Read)),
            Ok(claims) => Ok(claims),
            Err(Refused::Unknown) => Err(unauthorized("token_unknown", "This token is not known here.")),
            Err(Refused::Expired) => Err(unauthorized(
                "token_expired",
                "This token has expired; get a new one.",
            )),
        }
    }
}

fn is_public(env: &Env, db: &Db) -> bool {
    let list = env.var(PUBLIC_DATABASES).map(|list| list.to_string());
    list.is_ok_and(|list| list.split(',').any(|name| name.trim() == db.to_string()))
}

fn secret(env: &Env, name: &str) -> Option<String> {
    let value = env.secret(name).ok()?.to_string();
    (!value.is_empty()).then_some(value)
}

/// The token, from the header for it, or beside the protocol of a WebSocket: pages can send no other header there.
fn bearer(request: &Request) -> Option<String> {
    let headers = request.headers();
    let token = match headers.get("Authorization").ok()? {
        Some(header) => {
            let (scheme, token) = header.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| token.trim().to_owned())?
        }
        None => {
            let protocols = headers.get("Sec-WebSocket-Protocol").ok()??;
            let mut protocols = protocols.split(',');
            protocols.find_map(|protocol| protocol.trim().strip_prefix("bearer.").map(str::to_owned))?
        }
    };
    (!token.is_empty()).then_some(token)
}

fn is(secret: Option<&str>, token: &str) -> bool {
    secret.is_some_and(|secret| secret.as_bytes().ct_eq(token.as_bytes()).into())
}

fn unauthorized(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(401, code, message).with_header("WWW-Authenticate", "Bearer realm=\"walferry\"")
}
