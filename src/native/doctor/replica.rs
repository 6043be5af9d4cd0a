//! Whether a destination can be reached, and whether what it holds fits the database.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Finding, header};
use crate::ltx::{Header, PageSize, Txid};
use crate::native::clock::Clock;
use crate::native::replicate;
use crate::native::store::{Access, Destination};
use crate::replica::Level;
use crate::store::{Error, Store};

/// How long a destination may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// S3 refuses requests that are a quarter of an hour off; times of segments suffer before.
const SKEW: u64 = 60;
const LARGE_SKEW: u64 = 10 * 60;

/// Looks at a replica, and at what it holds of the database, whose local state is in `state` or beside it.
pub async fn replica(
    destination: &Destination,
    access: &Access,
    database: &Path,
    state: Option<PathBuf>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let asked = tokio::time::timeout(PATIENCE, ask(destination, access, &path, state)).await;
    match asked {
        Err(_) => findings.push(away(
            destination,
            &format!("no answer within {} s", PATIENCE.as_secs()),
        )),
        Ok(Err(error)) => findings.push(refused(destination, &error)),
        Ok(Ok(held)) => {
            if let Some(owner) = held.other_owner {
                findings.push(Finding::error(
                    "owned",
                    format!("{destination} is the replica of another database: {owner}"),
                    "Give each database a replica of its own. If this one goes on in the place of that one, on a new \
                     machine for instance, stop that one and start here with replicate --takeover.",
                ));
            }
            if let (Some(here), Some(there)) = (page_size(database), held.page_size)
                && here != there
            {
                findings.push(Finding::error(
                    "page-size",
                    format!(
                        "the database has pages of {} bytes and {destination} holds one with pages of {}",
                        here.get(),
                        there.get()
                    ),
                    "Give the replica a new path: history does not go on across a change of the page size.",
                ));
            }
        }
    }
    findings.extend(clock(destination).await);
    findings
}

/// What a replica holds.
struct Held {
    /// Of the newest snapshot or raw segment, if there is any.
    page_size: Option<PageSize>,
    other_owner: Option<String>,
}

async fn ask(
    destination: &Destination,
    access: &Access,
    database: &Path,
    state: Option<PathBuf>,
) -> Result<Held, replicate::Error> {
    let store = destination.open(access)?;
    Ok(Held {
        page_size: newest_page_size(&*store).await?,
        other_owner: replicate::other_owner(&*store, database, state).await?,
    })
}

async fn newest_page_size(store: &dyn Store) -> Result<Option<PageSize>, Error> {
    for level in [Level::RAW, Level::SNAPSHOT] {
        let Some(newest) = store.list(level, Txid::ZERO).await?.pop() else {
            continue;
        };
        let bytes = store.read(newest.id, 0..Header::LEN as u64).await?;
        let header = bytes.first_chunk().and_then(|bytes| Header::parse(bytes).ok());
        return Ok(header.map(|header| header.page_size));
    }
    Ok(None)
}

fn page_size(database: &Path) -> Option<PageSize> {
    let mut bytes = [0; 100];
    File::open(database).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    header::page_size(&bytes)
}

fn away(destination: &Destination, why: &str) -> Finding {
    Finding::error(
        "unreachable",
        format!("{destination} cannot be reached: {why}"),
        "Check the endpoint, the network and the firewall. walferry would keep trying; nothing would be shipped.",
    )
}

fn refused(destination: &Destination, error: &replicate::Error) -> Finding {
    match error {
        replicate::Error::Store(Error::Denied(why)) => Finding::error(
            "denied",
            format!("{destination} does not let us in: {why}"),
            "Check the keys, and that they may list, read, create and delete below the path.",
        ),
        error => away(destination, &error.to_string()),
    }
}

/// This machine's clock against the destination's.
async fn clock(destination: &Destination) -> Option<Finding> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().ok()?;
    let answer = client.head(host(destination)?).send().await.ok()?;
    let there = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::parse(there).ok()?.timestamp().as_second();
    let here = Clock::system().now().0 / 1000;
    let skew = here.abs_diff(there);
    if skew < SKEW {
        return None;
    }
    let finding = format!("this machine's clock is {skew} s off that of {destination}");
    let remedy = "Set it (timedatectl, chrony): moments in time are the clock's, and S3 refuses requests when it is 15 \
                  minutes off.";
    Some(if skew < LARGE_SKEW {
        Finding::warning("clock", finding, remedy)
    } else {
        Finding::error("clock", finding, remedy)
    })
}

/// Where to ask for the time of day; any answer will do, a refusal too.
fn host(destination: &Destination) -> Option<String> {
    match destination {
        Destination::Folder(_) => None,
        Destination::Worker(url) => Some(url.to_string()),
        Destination::S3(settings) => Some(settings.endpoint.clone().unwrap_or_else(|| {
            let region = settings.region.as_deref().unwrap_or("us-east-1");
            format!("https://s3.{region}.amazonaws.com/")
        })),
        Destination::Gs(settings) => {
            let endpoint = settings.endpoint.clone();
            Some(endpoint.unwrap_or_else(|| "https://storage.googleapis.com/".to_owned()))
        }
        Destination::Abs(settings) => {
            let account = settings.account.as_deref()?;
            Some(format!("https://{account}.blob.core.windows.net/"))
        }
    }
}
