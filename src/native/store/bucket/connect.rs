//! From settings to the library's client of a bucket.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use reqwest::Url;

use super::place::{Place, Provider};
use super::profile;
use super::service::{Connector, Trust};
use super::{AbsSettings, Bucket, GsSettings, S3Settings};
use crate::native::store::destination::is_loopback;
use crate::native::store::meter::Meter;
use crate::native::store::secret::Secret;
use crate::store::{Error, Result};

/// An open way to a bucket.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Whether large objects may be completed only where there is none.
    pub(super) conditional_completion: Arc<AtomicBool>,
    /// Whether the bucket was ever reached with our credentials.
    pub(super) was_reached: Arc<AtomicBool>,
}

/// Makes the client; no request is made yet. `region` is where the bucket was found to be.
pub(super) fn connect(bucket: &Bucket, region: Option<&str>, meter: &Arc<Meter>) -> Result<Link> {
    let place = Place::of(bucket);
    match bucket {
        Bucket::S3(settings) => s3(settings, region, &place, meter),
        Bucket::Gs(settings) => gs(settings, &place, meter),
        Bucket::Abs(settings) => abs(settings, &place, meter),
    }
}

/// Whether somebody said where a bucket is, so that it is not to be found out.
pub(super) fn region_is_told(settings: &S3Settings) -> bool {
    settings.region.is_some() || env("AWS_REGION").is_some() || env("AWS_DEFAULT_REGION").is_some()
}

/// Another provider than AWS: from the settings or the environment.
pub(super) fn endpoint_of(settings: &S3Settings) -> Option<String> {
    let names = [
        "LITESTREAM_S3_ENDPOINT",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT",
    ];
    let endpoint = settings.endpoint.clone();
    endpoint.or_else(|| names.into_iter().find_map(env))
}

fn s3(settings: &S3Settings, region: Option<&str>, place: &Place, meter: &Arc<Meter>) -> Result<Link> {
    let endpoint = endpoint_of(settings);
    let region = settings
        .region
        .clone()
        .or_else(|| region.map(str::to_owned))
        .or_else(|| env("AWS_REGION"))
        .or_else(|| env("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".to_owned());
    let (url, path_style) = address(settings, endpoint.as_deref(), &region).ok_or_else(|| {
        Error::Refused(format!(
            "{place}: the endpoint is written https://host or http://host:port"
        ))
    })?;

    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&settings.bucket)
        .with_region(region)
        .with_config(AmazonS3ConfigKey::S3Endpoint, url.as_str().trim_end_matches('/'))
        .with_virtual_hosted_style_request(!path_style)
        .with_disable_bulk_delete(true)
        .with_unsigned_payload(settings.sign_payload == Some(false))
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(retry());
    if let Some(keys) = keys(settings)? {
        builder = builder
            .with_access_key_id(keys.id)
            .with_secret_access_key(keys.secret.reveal());
        builder = match keys.token {
            Some(token) => builder.with_token(token.reveal()),
            // A token of the environment belongs to the keys of the environment.
            None if keys.of_settings => without_token(builder),
            None => builder,
        };
    }
    if let Some(key) = &settings.sse_kms_key_id {
        builder = builder.with_sse_kms_encryption(key);
    }
    if let Some(key) = &settings.sse_customer_key {
        builder = builder.with_ssec_encryption(key.reveal());
    }
    let (connector, link) = connector(&url, settings.skip_verify, meter);
    let client = builder.with_http_connector(connector).build();
    client
        .map(|client| link(Arc::new(client)))
        .map_err(|error| unfit(place, &error))
}

/// The URL of the bucket's host, and whether the bucket's name follows it in the path.
fn address(settings: &S3Settings, endpoint: Option<&str>, region: &str) -> Option<(Url, bool)> {
    let bucket = &settings.bucket;
    if let Some(point) = bucket.strip_prefix("arn:") {
        let mut parts = point.splitn(5, ':');
        let (partition, _, region, account) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = parts.next()?.strip_prefix("accesspoint/")?;
        let domain = if partition == "aws-cn" {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let url = format!("https://{name}-{account}.s3-accesspoint.{region}.{domain}");
        return Some((Url::parse(&url).ok()?, false));
    }
    match endpoint {
        Some(endpoint) => {
            let mut url = Url::parse(endpoint).ok()?;
            let host = url.host_str()?.to_owned();
            let path_style = settings.force_path_style.unwrap_or(true);
            if !path_style {
                url.set_host(Some(&format!("{bucket}.{host}"))).ok()?;
            }
            Some((url, path_style))
        }
        None => {
            // No certificate covers a bucket's name with dots.
            let path_style = settings.force_path_style.unwrap_or(false) || bucket.contains('.');
            let domain = if region.starts_with("cn-") {
                "amazonaws.com.cn"
            } else {
                "amazonaws.com"
            };
            let host = format!("s3.{region}.{domain}");
            let url = if path_style {
                format!("https://{host}")
            } else {
                format!("https://{bucket}.{host}")
            };
            Some((Url::parse(&url).ok()?, path_style))
        }
    }
}

/// Static keys.
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
    of_settings: bool,
}

impl Keys {
    pub(super) fn new(id: String, secret: String, token: Option<String>) -> Self {
        Self {
            id,
            secret: secret.into(),
            token: token.map(Secret::from),
            of_settings: true,
        }
    }
}

/// From the settings, `AWS_*`, `LITESTREAM_*` or a profile, in this order; otherwise the library asks the machine.
fn keys(settings: &S3Settings) -> Result<Option<Keys>> {
    match (&settings.access_key_id, &settings.secret_access_key) {
        (Some(id), Some(secret)) => {
            return Ok(Some(Keys {
                id: id.clone(),
                secret: secret.clone(),
                token: settings.session_token.clone(),
                of_settings: true,
            }));
        }
        (None, None) => {}
        _ => {
            return Err(Error::Denied(
                "access-key-id and secret-access-key go together: one of them is missing".to_owned(),
            ));
        }
    }
    if let Some(profile) = &settings.profile {
        let missing = || Error::Denied(format!("~/.aws/credentials has no keys in a profile {profile}"));
        return profile::keys(Some(profile)).map(Some).ok_or_else(missing);
    }
    let of_environment = |id: &str, secret: &str| {
        Some(Keys {
            id: env(id)?,
            secret: env(secret)?.into(),
            token: None,
            of_settings: false,
        })
    };
    if let Some(keys) = of_environment("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") {
        return Ok(Some(keys));
    }
    if let Some(keys) = of_environment("LITESTREAM_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY") {
        return Ok(Some(keys));
    }
    Ok(profile::keys(None))
}

/// The builder knows no way to take a token back.
fn without_token(builder: AmazonS3Builder) -> AmazonS3Builder {
    match builder.get_config_value(&AmazonS3ConfigKey::Token) {
        Some(_) => builder.with_token(""),
        None => builder,
    }
}

fn gs(settings: &GsSettings, place: &Place, meter: &Arc<Meter>) -> Result<Link> {
    let endpoint = settings
        .endpoint
        .as_deref()
        .unwrap_or("https://storage.googleapis.com");
    let url = Url::parse(endpoint).map_err(|_| unfit(place, &"the endpoint is written https://host"))?;
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&settings.bucket)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(retry());
    if settings.endpoint.is_some() {
        builder = builder.with_base_url(url.as_str().trim_end_matches('/'));
        builder = builder.with_skip_signature(is_loopback(&url));
    }
    if let Some(file) = &settings.credentials {
        builder = builder.with_service_account_path(file.to_string_lossy());
    }
    let (connector, link) = connector(&url, false, meter);
    let client = builder.with_http_connector(connector).build();
    client
        .map(|client| link(Arc::new(client)))
        .map_err(|error| unfit(place, &error))
}

fn abs(settings: &AbsSettings, place: &Place, meter: &Arc<Meter>) -> Result<Link> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&settings.container)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(retry());
    if let Some(account) = &settings.account {
        builder = builder.with_account(account);
    }
    let key = settings.account_key.clone();
    if let Some(key) = key.or_else(|| env("LITESTREAM_AZURE_ACCOUNT_KEY").map(Secret::from)) {
        builder = builder.with_access_key(key.reveal());
    }
    let token = settings.sas_token.clone();
    if let Some(token) = token.or_else(|| env("LITESTREAM_AZURE_SAS_TOKEN").map(Secret::from)) {
        builder = builder.with_config(AzureConfigKey::SasKey, token.reveal().trim_start_matches('?'));
    }
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    let endpoint = match (&settings.endpoint, account) {
        (Some(endpoint), _) => {
            builder = builder.with_endpoint(endpoint.clone());
            endpoint.clone()
        }
        (None, Some(account)) => format!("https://{account}.blob.core.windows.net"),
        (None, None) => {
            let why = "no storage account is named: write abs://account@container/path or set AZURE_STORAGE_ACCOUNT_NAME";
            return Err(unfit(place, &why));
        }
    };
    let url = Url::parse(&endpoint).map_err(|_| unfit(place, &"the endpoint is written https://host"))?;
    let (connector, link) = connector(&url, false, meter);
    let client = builder.with_http_connector(connector).build();
    client
        .map(|client| link(Arc::new(client)))
        .map_err(|error| unfit(place, &error))
}

/// The HTTP for a host, and what makes a link of the library's client on it.
fn connector(
    url: &Url,
    any_certificate: bool,
    meter: &Arc<Meter>,
) -> (Connector, impl FnOnce(Arc<dyn ObjectStore>) -> Link + use<>) {
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let connector = Connector {
        authority,
        trust: Trust {
            any_certificate,
            local: is_loopback(url),
        },
        meter: Arc::clone(meter),
        conditional_completion: Arc::new(AtomicBool::new(false)),
        was_reached: Arc::new(AtomicBool::new(false)),
    };
    let (conditional_completion, was_reached) = (
        Arc::clone(&connector.conditional_completion),
        Arc::clone(&connector.was_reached),
    );
    let link = |objects| Link {
        objects,
        conditional_completion,
        was_reached,
    };
    (connector, link)
}

/// What broke on the way is tried again at once, twice; everything else is for who asked to decide.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 3.0,
        },
        max_retries: 2,
        retry_timeout: Duration::from_secs(15),
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The settings make no client.
fn unfit(place: &Place, error: &dyn std::fmt::Display) -> Error {
    let hint = match place.provider() {
        Provider::S3 => "",
        Provider::Google | Provider::Azure => "; check the credentials in the environment",
    };
    Error::Refused(format!("{place} cannot be used: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(bucket: &str, endpoint: Option<&str>, path_style: Option<bool>) -> (String, bool) {
        let settings = S3Settings {
            bucket: bucket.to_owned(),
            force_path_style: path_style,
            ..S3Settings::default()
        };
        let (url, path_style) = address(&settings, endpoint, "eu-west-1").unwrap();
        (url.as_str().trim_end_matches('/').to_owned(), path_style)
    }

    #[test]
    fn the_bucket_is_in_the_host_at_aws_and_in_the_path_elsewhere() {
        let at = |url: &str, path_style| (url.to_owned(), path_style);
        assert_eq!(
            host("b", None, None),
            at("https://b.s3.eu-west-1.amazonaws.com", false)
        );
        assert_eq!(
            host("a.b", None, None),
            at("https://s3.eu-west-1.amazonaws.com", true)
        );
        let minio = Some("http://minio:9000");
        assert_eq!(host("b", minio, None), at("http://minio:9000", true));
        assert_eq!(host("b", minio, Some(false)), at("http://b.minio:9000", false));
        assert_eq!(
            host("arn:aws:s3:us-east-2:123:accesspoint/mine", None, None),
            at("https://mine-123.s3-accesspoint.us-east-2.amazonaws.com", false)
        );
    }
}
