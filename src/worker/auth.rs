//! Who may do what: a bearer token that is one of two secrets of the Worker.

use subtle::ConstantTimeEq;
use worker::{Env, Request};

use super::failure::Failure;

/// Set by `wrangler secret put`. Who may write may read.
const WRITE_TOKEN: &str = "WALFERRY_WRITE_TOKEN";
const READ_TOKEN: &str = "WALFERRY_READ_TOKEN";

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Read,
    Write,
}

/// Lets the request pass if its token has the scope.
pub(super) fn authorize(request: &Request, env: &Env, scope: Scope) -> Result<(), Failure> {
    let (write, read) = (secret(env, WRITE_TOKEN), secret(env, READ_TOKEN));
    if write.is_none() && read.is_none() {
        return Err(unauthorized(
            "no_token_configured",
            format!(
                "This Worker lets nobody in until it has a token: run `wrangler secret put {WRITE_TOKEN}`."
            ),
        ));
    }
    let Some(token) = bearer(request) else {
        return Err(unauthorized(
            "token_missing",
            "A token is needed: send the header `Authorization: Bearer <token>`.",
        ));
    };
    // Both comparisons are always made: time must not tell which secret a guess is close to.
    let may_write = is(write.as_deref(), &token);
    let may_read = is(read.as_deref(), &token);
    match scope {
        _ if may_write => Ok(()),
        Scope::Read if may_read => Ok(()),
        Scope::Write if may_read => Err(Failure::new(
            403,
            "write_token_needed",
            "This token may only read; writing needs the write token.",
        )),
        Scope::Read | Scope::Write => Err(unauthorized("token_unknown", "This token is not known here.")),
    }
}

fn secret(env: &Env, name: &str) -> Option<String> {
    let value = env.secret(name).ok()?.to_string();
    (!value.is_empty()).then_some(value)
}

fn bearer(request: &Request) -> Option<String> {
    let header = request.headers().get("Authorization").ok()??;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn is(secret: Option<&str>, token: &str) -> bool {
    secret.is_some_and(|secret| secret.as_bytes().ct_eq(token.as_bytes()).into())
}

fn unauthorized(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(401, code, message).with_header("WWW-Authenticate", "Bearer realm=\"walferry\"")
}
