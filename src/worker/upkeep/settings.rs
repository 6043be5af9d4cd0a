//! How the replicas of a Worker are kept: variables in wrangler.toml.

use std::time::Duration;

use worker::Env;

use crate::replica::Policy;

/// Levels must leave room for snapshots.
const MAX_LEVELS: usize = 8;
const MEBIBYTE: u64 = 1 << 20;

/// The policy, or what is wrong with a variable, as a sentence: then nothing is done.
pub(super) fn policy(env: &Env) -> Result<Policy, String> {
    let mut policy = Policy {
        // Bundles are made in memory.
        bundle_bytes: 4 * MEBIBYTE,
        bundled_bytes: MEBIBYTE,
        ..Policy::default()
    };
    if let Some(levels) = variable(env, "WALFERRY_LEVELS") {
        policy.levels = levels_of(&levels).ok_or_else(|| {
            wrong(
                "WALFERRY_LEVELS",
                &levels,
                "one to eight ascending intervals such as 30s, 5m, 1h",
            )
        })?;
    }
    for (name, place) in [
        ("WALFERRY_SNAPSHOT_INTERVAL", &mut policy.snapshot_interval),
        ("WALFERRY_HISTORY_WINDOW", &mut policy.history_window),
        ("WALFERRY_RAW_RETENTION", &mut policy.raw_retention),
        ("WALFERRY_GRACE", &mut policy.grace),
    ] {
        if let Some(text) = variable(env, name) {
            *place =
                duration(&text).ok_or_else(|| wrong(name, &text, "a duration such as 90s, 5m, 24h or 7d"))?;
        }
    }
    match variable(env, "WALFERRY_RETENTION") {
        Some(text) if text == "forever" => policy.retention = Duration::MAX,
        Some(text) => {
            policy.retention = duration(&text).ok_or_else(|| {
                wrong(
                    "WALFERRY_RETENTION",
                    &text,
                    "a duration such as 72h or 30d, or forever",
                )
            })?;
        }
        None => {}
    }
    Ok(policy)
}

fn variable(env: &Env, name: &str) -> Option<String> {
    let value = env.var(name).ok()?.to_string();
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn wrong(name: &str, value: &str, what: &str) -> String {
    let shown: String = value.chars().take(60).collect();
    format!(
        "The variable {name} is {shown:?}; it must be {what}. Until it is, nothing is compacted or deleted."
    )
}

fn levels_of(text: &str) -> Option<Vec<Duration>> {
    let levels: Vec<Duration> = text
        .split(',')
        .map(|level| duration(level.trim()))
        .collect::<Option<_>>()?;
    let ascending = levels
        .iter()
        .zip(levels.iter().skip(1))
        .all(|(one, next)| one < next);
    (ascending && levels.len() <= MAX_LEVELS).then_some(levels)
}

/// A number and `ms`, `s`, `m`, `h` or `d`: more than nothing, at most a hundred years.
fn duration(text: &str) -> Option<Duration> {
    const YEARS: u64 = 100 * 366 * 86_400_000;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=YEARS)
        .contains(&millis)
        .then(|| Duration::from_millis(millis))
}
