//! Which web pages may talk to the Worker (CORS).

use worker::{Env, Request, Response};

use super::at_least::AT_LEAST;
use super::failure::Failure;
use super::json::POSITION;

/// A variable of the Worker: origins separated by commas, or `*`. Any, by default: every answer needs a token,
/// and a browser sends none by itself.
const ALLOWED_ORIGINS: &str = "WALFERRY_ALLOWED_ORIGINS";

/// The origin that asks, and whether it may.
#[derive(Debug)]
pub(super) struct Origins {
    /// What `Access-Control-Allow-Origin` says; `None` for an origin that may not, or no origin at all.
    allowed: Option<String>,
    /// Whether that depends on who asks.
    varies: bool,
}

impl Origins {
    pub(super) fn of(request: &Request, env: &Env) -> Self {
        let list = env
            .var(ALLOWED_ORIGINS)
            .map_or_else(|_| "*".to_owned(), |value| value.to_string());
        let mut listed = list.split(',').map(str::trim);
        if listed.clone().any(|origin| origin == "*") {
            return Self {
                allowed: Some("*".to_owned()),
                varies: false,
            };
        }
        let asking = request.headers().get("Origin").ok().flatten();
        Self {
            allowed: asking.filter(|asking| listed.any(|origin| origin == asking)),
            varies: true,
        }
    }

    /// Answers what a browser asks before it sends the request itself.
    pub(super) fn preflight(&self, request: &Request) -> Result<Response, Failure> {
        super::Route::of(&request.path())?;
        if self.allowed.is_none() {
            return Err(not_allowed());
        }
        let mut response = Response::empty()?.with_status(204);
        let headers = response.headers_mut();
        headers.set("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST")?;
        headers.set(
            "Access-Control-Allow-Headers",
            &format!("Authorization, Range, Content-Type, {AT_LEAST}"),
        )?;
        headers.set("Access-Control-Max-Age", "7200")?;
        Ok(response)
    }

    /// Refuses a WebSocket to pages that may not ask: browsers leave that to the server.
    pub(super) fn check_socket(&self, request: &Request) -> Result<(), Failure> {
        if self.allowed.is_none() && request.headers().get("Origin")?.is_some() {
            return Err(not_allowed());
        }
        Ok(())
    }

    /// Lets the page read an answer.
    pub(super) fn allow(&self, response: &mut Response) -> worker::Result<()> {
        let headers = response.headers_mut();
        if self.varies {
            headers.append("Vary", "Origin")?;
        }
        if let Some(origin) = &self.allowed {
            headers.set("Access-Control-Allow-Origin", origin)?;
            let exposed = format!(
                "Content-Range, Content-Length, Accept-Ranges, ETag, Retry-After, {POSITION}, {}, {}, {}, {}",
                super::download::TIMESTAMP,
                super::map::NEXT,
                super::parts::OFFSET,
                super::raw::WAL
            );
            headers.set("Access-Control-Expose-Headers", &exposed)?;
        }
        Ok(())
    }
}

fn not_allowed() -> Failure {
    let message = format!("Pages of this origin may not ask here: see the variable {ALLOWED_ORIGINS}.");
    Failure::new(403, "origin_not_allowed", message)
}
