//! `s3://`, `gs://` and `abs://`, with the forms and parameters that Litestream knows.

use bytesize::ByteSize;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

use super::{AbsSettings, GsSettings, S3Settings};
use crate::native::store::destination::{InvalidUrl, is_loopback};
use crate::native::store::secret::Secret;

type Parsed<T> = std::result::Result<T, InvalidUrl>;

/// Hosts that name a bucket and its region: what follows the bucket, `*` being the region, and the endpoint where it is
/// not AWS. The region of a provider without any is given.
const HOSTS: [(&str, Option<&str>, &str); 8] = [
    (".s3.*.amazonaws.com", None, ""),
    (".s3.amazonaws.com", None, ""),
    (
        ".*.digitaloceanspaces.com",
        Some("https://*.digitaloceanspaces.com"),
        "",
    ),
    (".s3.*.backblazeb2.com", Some("https://s3.*.backblazeb2.com"), ""),
    (".s3.filebase.com", Some("https://s3.filebase.com"), "us-east-1"),
    (".s3.*.scw.cloud", Some("https://s3.*.scw.cloud"), ""),
    (".s3.*.wasabisys.com", Some("https://s3.*.wasabisys.com"), ""),
    (
        ".*.your-objectstorage.com",
        Some("https://*.your-objectstorage.com"),
        "",
    ),
];

/// The parameters of an S3 URL, for the hint when one is mistyped.
const PARAMETERS: [&str; 15] = [
    "endpoint",
    "region",
    "force-path-style",
    "skip-verify",
    "sign-payload",
    "require-content-md5",
    "concurrency",
    "part-size",
    "storage-class",
    "sse-customer-algorithm",
    "sse-customer-key",
    "sse-customer-key-md5",
    "sse-kms-key-id",
    "conditional-writes",
    "profile",
];

/// `s3://bucket/path`, `s3://bucket.host/path` or `s3://arn:…:accesspoint/name/path`
pub(in crate::native::store) fn s3(text: &str) -> Parsed<S3Settings> {
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    let rest = before.get("s3://".len()..).unwrap_or_default();
    let (host, path) = if rest.starts_with("arn:") {
        access_point(rest).ok_or_else(|| {
            InvalidUrl::new(format!(
                "{before} names no access point: write s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/path"
            ))
        })?
    } else {
        rest.split_once('/').unwrap_or((rest, ""))
    };
    if host.contains('@') {
        // Not repeated in the message: it may be a secret.
        return Err(InvalidUrl::new(
            "an s3:// URL holds no keys: they go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    let mut settings = named_by(host);
    settings.path = key_prefix(&decoded(path))?;
    let url = Url::parse(&format!("s3:/?{query}"))
        .map_err(|_| InvalidUrl::new(format!("{before} has unreadable parameters")))?;
    for (name, value) in url.query_pairs() {
        parameter(&mut settings, &name, &value)?;
    }
    if settings.bucket.is_empty() {
        return Err(InvalidUrl::new(
            "an s3:// URL names a bucket: write s3://bucket/path",
        ));
    }
    Ok(settings)
}

/// The part that names the access point, and the path.
fn access_point(rest: &str) -> Option<(&str, &str)> {
    let name_at = rest.find(":accesspoint/")?.saturating_add(":accesspoint/".len());
    let end = rest
        .get(name_at..)?
        .find('/')
        .map_or(rest.len(), |len| name_at.saturating_add(len));
    let (arn, path) = rest.split_at_checked(end)?;
    (arn.split(':').count() == 6 && end > name_at).then(|| (arn, path.trim_start_matches('/')))
}

/// What a host says: a bucket alone, or with its provider.
fn named_by(host: &str) -> S3Settings {
    let mut settings = S3Settings {
        bucket: host.to_owned(),
        ..S3Settings::default()
    };
    for (form, endpoint, region) in HOSTS {
        if let Some((bucket, found)) = matches(host, form) {
            settings.bucket = bucket.to_owned();
            let region = found.unwrap_or(region);
            settings.region = (!region.is_empty()).then(|| region.to_owned());
            settings.endpoint = endpoint.map(|endpoint| endpoint.replace('*', region));
            return settings;
        }
    }
    // A server of one's own: bucket.host:9000.
    if let Some((bucket, server)) = host.split_once('.')
        && server
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        settings.bucket = bucket.to_owned();
        settings.endpoint = Some(format!("http://{server}"));
    }
    settings
}

/// Splits `host` into what comes before `form` and what stands for its `*`.
fn matches<'a>(host: &'a str, form: &str) -> Option<(&'a str, Option<&'a str>)> {
    let (bucket, region) = match form.split_once('*') {
        None => (host.strip_suffix(form)?, None),
        Some((start, end)) => {
            let (before, region) = host.strip_suffix(end)?.rsplit_once('.')?;
            (before.strip_suffix(start.strip_suffix('.')?)?, Some(region))
        }
    };
    (!bucket.is_empty() && region != Some("")).then_some((bucket, region))
}

fn parameter(settings: &mut S3Settings, name: &str, value: &str) -> Parsed<()> {
    // forcePathStyle is force-path-style.
    let mut dashed = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            dashed.push('-');
        }
        dashed.push(letter.to_ascii_lowercase());
    }
    let yes = || match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(InvalidUrl::new(format!("{name} is true or false, not {value:?}"))),
    };
    let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
    match dashed.as_str() {
        "endpoint" => settings.endpoint = text().map(|text| endpoint(&text)).transpose()?,
        "region" => settings.region = text(),
        "force-path-style" => settings.force_path_style = Some(yes()?),
        "skip-verify" => settings.skip_verify = yes()?,
        "sign-payload" => settings.sign_payload = Some(yes()?),
        // Every part carries a checksum of its own kind.
        "require-content-md5"
        | "require-content-m-d5"
        | "sse-customer-algorithm"
        | "sse-customer-key-md5" => {}
        "concurrency" => {
            let number = value.parse().ok().filter(|&number: &usize| number > 0);
            let number = number
                .ok_or_else(|| InvalidUrl::new(format!("{name} is a number from 1 on, not {value:?}")))?;
            settings.concurrency = Some(number);
        }
        "part-size" => {
            let size: ByteSize = value
                .parse()
                .map_err(|_| InvalidUrl::new(format!("{name} is a size like 16MiB, not {value:?}")))?;
            settings.part_size = Some(size.as_u64());
        }
        "profile" => settings.profile = text(),
        "storage-class" => settings.storage_class = text(),
        "sse-customer-key" => settings.sse_customer_key = text().map(Secret::from),
        "sse-kms-key-id" => settings.sse_kms_key_id = text(),
        "conditional-writes" => settings.conditional_writes = Some(yes()?),
        _ => {
            let near = PARAMETERS
                .into_iter()
                .max_by(|a, b| strsim::jaro(a, &dashed).total_cmp(&strsim::jaro(b, &dashed)))
                .unwrap_or_default();
            return Err(InvalidUrl::new(format!(
                "an s3:// URL has no parameter {name:?}; the nearest is {near}"
            )));
        }
    }
    Ok(())
}

/// An endpoint as it is configured: `https://` is added where it is missing, `http://` for this machine.
pub fn endpoint(text: &str) -> Parsed<String> {
    let invalid = || {
        InvalidUrl::new(format!(
            "the endpoint {text:?} is not written https://host or http://host:port"
        ))
    };
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        let https = Url::parse(&format!("https://{text}")).map_err(|_| invalid())?;
        let scheme = if is_loopback(&https) { "http" } else { "https" };
        format!("{scheme}://{text}")
    };
    let url = Url::parse(&with_scheme).map_err(|_| invalid())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !url.username().is_empty() {
        return Err(invalid());
    }
    Ok(with_scheme.trim_end_matches('/').to_owned())
}

/// What keys start with: no slashes at the ends, no empty or dotted parts within.
pub fn key_prefix(text: &str) -> Parsed<String> {
    let path = text.trim_matches('/');
    let unfit =
        |part: &str| matches!(part, "" | "." | "..") || part.chars().any(|letter| letter.is_ascii_control());
    if !path.is_empty() && path.split('/').any(unfit) {
        return Err(InvalidUrl::new(format!(
            "the path {text:?} cannot be used: it has an empty part, a dot for a part, or control characters"
        )));
    }
    Ok(path.to_owned())
}

/// `gs://bucket/path`
pub(in crate::native::store) fn gs(text: &str) -> Parsed<GsSettings> {
    let rest = text.get("gs://".len()..).unwrap_or_default();
    let (bucket, path) = plain(rest, "gs://bucket/path")?;
    Ok(GsSettings {
        bucket: bucket.to_owned(),
        path,
        ..GsSettings::default()
    })
}

/// `abs://container/path` or `abs://account@container/path`
pub(in crate::native::store) fn abs(text: &str) -> Parsed<AbsSettings> {
    let rest = text.get("abs://".len()..).unwrap_or_default();
    let (host, path) = plain(rest, "abs://account@container/path")?;
    let (account, container) = match host.split_once('@') {
        // Not repeated in the message: it may be a secret.
        Some((account, _)) if account.contains(':') => {
            return Err(InvalidUrl::new(
                "an abs:// URL holds no key: it goes into LITESTREAM_AZURE_ACCOUNT_KEY or account-key",
            ));
        }
        Some((account, container)) => (Some(account.to_owned()), container),
        None => (None, host),
    };
    Ok(AbsSettings {
        account,
        container: container.to_owned(),
        path,
        ..AbsSettings::default()
    })
}

fn plain<'a>(rest: &'a str, form: &str) -> Parsed<(&'a str, String)> {
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains(['?', '#']) || host.contains(['?', '#']) {
        return Err(InvalidUrl::new(format!(
            "such a URL has no parameters: write {form}"
        )));
    }
    if host.is_empty() {
        return Err(InvalidUrl::new(format!("the URL names no bucket: write {form}")));
    }
    Ok((host, key_prefix(&decoded(path))?))
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// What would be read as something else in a URL's path.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b'%')
    .add(b'?')
    .add(b'#')
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>');

/// A path as a URL has it, with its slash in front.
pub(in crate::native::store) fn encoded(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    format!("/{}", utf8_percent_encode(path, RESERVED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> (String, String, Option<String>, Option<String>) {
        let settings = s3(text).unwrap();
        (settings.bucket, settings.path, settings.region, settings.endpoint)
    }

    #[test]
    fn hosts_of_known_providers_name_bucket_region_and_endpoint() {
        let some = |text: &str| Some(text.to_owned());
        let at = |bucket: &str, path: &str, region, endpoint| {
            (bucket.to_owned(), path.to_owned(), region, endpoint)
        };
        assert_eq!(place("s3://b"), at("b", "", None, None));
        assert_eq!(place("s3://my.bucket/a/b/"), at("my.bucket", "a/b", None, None));
        assert_eq!(
            place("s3://b.s3.eu-west-1.amazonaws.com/db"),
            at("b", "db", some("eu-west-1"), None)
        );
        assert_eq!(place("s3://a.b.s3.amazonaws.com/db"), at("a.b", "db", None, None));
        assert_eq!(
            place("s3://b.nyc3.digitaloceanspaces.com/db"),
            at(
                "b",
                "db",
                some("nyc3"),
                some("https://nyc3.digitaloceanspaces.com")
            )
        );
        assert_eq!(
            place("s3://b.s3.us-west-002.backblazeb2.com/db"),
            at(
                "b",
                "db",
                some("us-west-002"),
                some("https://s3.us-west-002.backblazeb2.com")
            )
        );
        assert_eq!(
            place("s3://b.s3.filebase.com/db"),
            at("b", "db", some("us-east-1"), some("https://s3.filebase.com"))
        );
        assert_eq!(
            place("s3://b.s3.fr-par.scw.cloud/db"),
            at("b", "db", some("fr-par"), some("https://s3.fr-par.scw.cloud"))
        );
        assert_eq!(
            place("s3://b.localhost:9000/db"),
            at("b", "db", None, some("http://localhost:9000"))
        );
        assert_eq!(
            place("s3://b.10.0.0.5:9000/db"),
            at("b", "db", None, some("http://10.0.0.5:9000"))
        );
        assert_eq!(
            place("s3://arn:aws:s3:us-east-1:123:accesspoint/mine/a/b"),
            at("arn:aws:s3:us-east-1:123:accesspoint/mine", "a/b", None, None)
        );
        assert_eq!(place("s3://b/my%20app/ü").1, "my app/ü");
        assert_eq!(encoded("my app/50%"), "/my%20app/50%25");
    }

    #[test]
    fn parameters_are_litestreams_in_both_spellings() {
        let settings = s3(
            "s3://b/db?endpoint=localhost:9000&region=x&forcePathStyle=false&skip-verify=true&signPayload=false\
             &partSize=16MiB&concurrency=3&storageClass=STANDARD_IA&sseKmsKeyId=k&conditional-writes=false\
             &requireContentMD5=false",
        )
        .unwrap();
        assert_eq!(settings.endpoint.as_deref(), Some("http://localhost:9000"));
        assert_eq!(settings.region.as_deref(), Some("x"));
        assert_eq!(settings.force_path_style, Some(false));
        assert!(settings.skip_verify);
        assert_eq!(settings.sign_payload, Some(false));
        assert_eq!(
            (settings.part_size, settings.concurrency),
            (Some(16 << 20), Some(3))
        );
        assert_eq!(settings.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(settings.sse_kms_key_id.as_deref(), Some("k"));
        assert_eq!(settings.conditional_writes, Some(false));
        assert_eq!(
            s3("s3://b/db?endpoint=minio.lan:9000")
                .unwrap()
                .endpoint
                .as_deref(),
            Some("https://minio.lan:9000")
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, hint) in [
            ("s3:///db", "names a bucket"),
            ("s3://b/db?regoin=x", "region"),
            ("s3://b/db?forcePathStyle=perhaps", "true or false"),
            ("s3://b/db?part-size=big", "16MiB"),
            ("s3://b/db?endpoint=ftp://x", "endpoint"),
            ("s3://key:secret@b/db", "AWS_ACCESS_KEY_ID"),
            ("s3://b/a//b", "empty part"),
            ("s3://b/../c", "dot"),
            ("s3://arn:aws:s3:x", "access point"),
        ] {
            let error = s3(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(
            abs("abs://me:secret@c/db")
                .unwrap_err()
                .to_string()
                .contains("account-key")
        );
        assert!(
            gs("gs:///db")
                .unwrap_err()
                .to_string()
                .contains("gs://bucket/path")
        );
    }

    #[test]
    fn google_and_azure() {
        let settings = gs("gs://b/a/db").unwrap();
        assert_eq!((settings.bucket.as_str(), settings.path.as_str()), ("b", "a/db"));
        let settings = abs("abs://acct@c/db").unwrap();
        assert_eq!(settings.account.as_deref(), Some("acct"));
        assert_eq!((settings.container.as_str(), settings.path.as_str()), ("c", "db"));
        assert_eq!(abs("abs://c/db").unwrap().account, None);
    }
}
