//! What there is to tell of all databases at once: an object that they report to, so that none is woken to be asked.

mod exposition;
mod report;
mod reporter;

pub(super) use reporter::Reporter;

use serde::Serialize;
use worker::{
    DurableObject, Env, Request, Response, SqlStorage, SqlStorageValue, State, Stub, durable_object,
};

use super::failure::Failure;
use super::not_bound;
use super::query::Query;
use super::route::{Db, Route};
use crate::json::from_str;
use report::Report;

/// The binding in wrangler.toml, and the name of the one object.
const REGISTRY: &str = "REGISTRY";
const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS databases (name TEXT PRIMARY KEY, report TEXT NOT NULL) WITHOUT ROWID";
/// The most databases in one answer.
const MAX_PAGE: u32 = 1000;
/// The most that metrics tell of: more is too much for a scrape. Tests have not as many.
const MAX_METRICS: usize = if cfg!(feature = "fault-points") {
    20
} else {
    10_000
};

/// The object of all databases; `None` where it is not bound.
pub(super) fn registry(env: &Env) -> Result<Stub, Failure> {
    let registry = env.durable_object(REGISTRY);
    let registry = registry.map_err(|_| not_bound("Durable Object class", REGISTRY))?;
    Ok(registry.get_by_name("registry")?)
}

/// The class that wrangler.toml binds as `REGISTRY`. Its requests come from the Worker, which has let them in, and from
/// databases, whose reports are POSTs.
#[durable_object(fetch)]
#[derive(Debug)]
pub struct Registry {
    sql: SqlStorage,
}

#[derive(Serialize)]
struct Databases {
    databases: Vec<Report>,
    /// The parameter `after` of the next page.
    next: Option<String>,
}

impl DurableObject for Registry {
    fn new(state: State, _: Env) -> Self {
        Self {
            sql: state.storage().sql(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let answer = match request.inner().method().as_str() {
            "POST" => self.take(&mut request).await,
            _ => self.answer(&request),
        };
        answer.or_else(Failure::into_response)
    }
}

impl Registry {
    /// Adds what a database reports to what is known of it.
    async fn take(&self, request: &mut Request) -> Result<Response, Failure> {
        let text = request.text().await?;
        let news: Option<Report> = from_str(&text);
        let message = "The report is not of this version.";
        let news = news.ok_or_else(|| Failure::bad_request("invalid_report", message))?;
        self.sql.exec(SCHEMA, None)?;
        let known = self.reports("WHERE name = ?", vec![news.name.clone().into()])?;
        let report = match known.into_iter().next() {
            Some(known) => news.after(known),
            None => news,
        };
        let text = serde_json::to_string(&report).unwrap_or_default();
        let values = vec![report.name.into(), text.into()];
        self.sql
            .exec("INSERT OR REPLACE INTO databases VALUES (?, ?)", values)?;
        Ok(Response::empty()?)
    }

    fn answer(&self, request: &Request) -> Result<Response, Failure> {
        self.sql.exec(SCHEMA, None)?;
        if matches!(Route::of(&request.path())?, Route::Metrics) {
            Query::of(request, &[])?;
            let reports = self.reports("ORDER BY name LIMIT ?", vec![(MAX_METRICS as i64).into()])?;
            let mut response = Response::ok(exposition::text(&reports, self.count()?))?;
            let headers = response.headers_mut();
            headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")?;
            headers.set("Cache-Control", "no-store")?;
            return Ok(response);
        }
        let query = Query::of(request, &["after", "limit"])?;
        let limit = query.number("limit", 1..=MAX_PAGE)?.unwrap_or(MAX_PAGE);
        let after = query.text("after").map(Db::parse).transpose()?;
        let after = after.map_or_else(String::new, |db| db.to_string());
        let values = vec![after.into(), i64::from(limit).into()];
        let databases = self.reports("WHERE name > ? ORDER BY name LIMIT ?", values)?;
        let is_full = databases.len() >= limit as usize;
        let next = databases.last().filter(|_| is_full).map(|last| last.name.clone());
        let mut response = Response::from_json(&Databases { databases, next })?;
        response.headers_mut().set("Cache-Control", "no-store")?;
        Ok(response)
    }

    fn count(&self) -> Result<usize, Failure> {
        let rows = self
            .sql
            .exec("SELECT CAST(count(*) AS TEXT) FROM databases", None)?;
        let count = match rows
            .raw()
            .next()
            .transpose()?
            .and_then(|row| row.into_iter().next())
        {
            Some(SqlStorageValue::String(count)) => count.parse().ok(),
            _ => None,
        };
        Ok(count.unwrap_or_default())
    }

    fn reports(&self, which: &str, values: Vec<SqlStorageValue>) -> Result<Vec<Report>, Failure> {
        let rows = self
            .sql
            .exec(&format!("SELECT report FROM databases {which}"), values)?;
        let mut reports = Vec::new();
        for row in rows.raw() {
            if let Some(SqlStorageValue::String(text)) = row?.into_iter().next()
                && let Some(report) = from_str(&text)
            {
                reports.push(report);
            }
        }
        Ok(reports)
    }
}
