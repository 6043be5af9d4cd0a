//! The keys that say how a bucket is reached.

use super::section::Section;
use super::values;
use crate::native::store::{AbsSettings, Destination, GsSettings, S3Settings, Secret, endpoint, key_prefix};

/// What is said of a bucket, whoever's it is.
#[derive(Clone, Default)]
pub(super) struct Bucket {
    name: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    force_path_style: Option<bool>,
    skip_verify: Option<bool>,
    sign_payload: Option<bool>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
    session_token: Option<Secret>,
    storage_class: Option<String>,
    part_size: Option<u64>,
    concurrency: Option<usize>,
    sse_kms_key_id: Option<String>,
    sse_customer_key: Option<Secret>,
    conditional_writes: Option<bool>,
    account_name: Option<String>,
    account_key: Option<Secret>,
    sas_token: Option<Secret>,
    credentials: Option<String>,
}

impl Bucket {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            name: section.text("bucket"),
            region: section.text("region"),
            endpoint: section.value("endpoint", |text| {
                endpoint(text).map_err(|error| error.to_string())
            }),
            force_path_style: section.value("force-path-style", values::flag),
            skip_verify: section.value("skip-verify", values::flag),
            sign_payload: section.value("sign-payload", values::flag),
            access_key_id: section.text("access-key-id"),
            secret_access_key: section.text("secret-access-key").map(Secret::new),
            session_token: section.text("session-token").map(Secret::new),
            storage_class: section.text("storage-class"),
            part_size: section.value("part-size", values::size),
            concurrency: section.value("concurrency", |text| {
                values::number(text, 1, 64).map(|number| number as usize)
            }),
            sse_kms_key_id: section.text("sse-kms-key-id"),
            sse_customer_key: customer_key(section),
            conditional_writes: section.value("conditional-writes", values::flag),
            account_name: section.text("account-name"),
            account_key: section.text("account-key").map(Secret::new),
            sas_token: section.text("sas-token").map(Secret::new),
            credentials: section.text("credentials"),
        }
    }

    pub(super) fn or(self, outer: Self) -> Self {
        // A key without its secret is of another pair.
        let keys = if self.access_key_id.is_some() || self.secret_access_key.is_some() {
            (self.access_key_id, self.secret_access_key, self.session_token)
        } else {
            (outer.access_key_id, outer.secret_access_key, outer.session_token)
        };
        Self {
            name: self.name.or(outer.name),
            region: self.region.or(outer.region),
            endpoint: self.endpoint.or(outer.endpoint),
            force_path_style: self.force_path_style.or(outer.force_path_style),
            skip_verify: self.skip_verify.or(outer.skip_verify),
            sign_payload: self.sign_payload.or(outer.sign_payload),
            access_key_id: keys.0,
            secret_access_key: keys.1,
            session_token: keys.2,
            storage_class: self.storage_class.or(outer.storage_class),
            part_size: self.part_size.or(outer.part_size),
            concurrency: self.concurrency.or(outer.concurrency),
            sse_kms_key_id: self.sse_kms_key_id.or(outer.sse_kms_key_id),
            sse_customer_key: self.sse_customer_key.or(outer.sse_customer_key),
            conditional_writes: self.conditional_writes.or(outer.conditional_writes),
            account_name: self.account_name.or(outer.account_name),
            account_key: self.account_key.or(outer.account_key),
            sas_token: self.sas_token.or(outer.sas_token),
            credentials: self.credentials.or(outer.credentials),
        }
    }

    /// A destination by type, bucket and path.
    pub(super) fn place(&self, kind: &str, path: &str) -> Result<Destination, String> {
        let name = self.name.clone();
        let name = name.ok_or_else(|| format!("a replica of type {kind} needs a bucket"))?;
        let path = key_prefix(path).map_err(|error| error.to_string())?;
        self.complete(match kind {
            "gs" => Destination::Gs(GsSettings {
                bucket: name,
                path,
                ..GsSettings::default()
            }),
            "abs" => Destination::Abs(AbsSettings {
                container: name,
                path,
                ..AbsSettings::default()
            }),
            _ => Destination::S3(S3Settings {
                bucket: name,
                path,
                ..S3Settings::default()
            }),
        })
    }

    /// Adds what a URL does not say to a destination.
    pub(super) fn complete(&self, mut destination: Destination) -> Result<Destination, String> {
        let own = self.clone();
        match &mut destination {
            Destination::S3(s3) => {
                if own.access_key_id.is_some() != own.secret_access_key.is_some() {
                    return Err(
                        "access-key-id and secret-access-key come as a pair: one is missing or empty"
                            .to_owned(),
                    );
                }
                or(&mut s3.region, own.region);
                or(&mut s3.endpoint, own.endpoint);
                or(&mut s3.force_path_style, own.force_path_style);
                s3.skip_verify |= own.skip_verify.unwrap_or_default();
                or(&mut s3.sign_payload, own.sign_payload);
                or(&mut s3.access_key_id, own.access_key_id);
                or(&mut s3.secret_access_key, own.secret_access_key);
                or(&mut s3.session_token, own.session_token);
                or(&mut s3.storage_class, own.storage_class);
                or(&mut s3.part_size, own.part_size);
                or(&mut s3.concurrency, own.concurrency);
                or(&mut s3.sse_kms_key_id, own.sse_kms_key_id);
                or(&mut s3.sse_customer_key, own.sse_customer_key);
                or(&mut s3.conditional_writes, own.conditional_writes);
            }
            Destination::Gs(gs) => {
                or(&mut gs.endpoint, own.endpoint);
                or(&mut gs.credentials, own.credentials.map(Into::into));
            }
            Destination::Abs(abs) => {
                or(&mut abs.account, own.account_name);
                or(&mut abs.endpoint, own.endpoint);
                or(&mut abs.account_key, own.account_key);
                or(&mut abs.sas_token, own.sas_token);
            }
            Destination::Folder(_) | Destination::Worker(_) => {}
        }
        Ok(destination)
    }
}

fn or<T>(said: &mut Option<T>, also: Option<T>) {
    *said = said.take().or(also);
}

/// The key itself, or the file that it is in.
fn customer_key(section: &mut Section<'_>) -> Option<Secret> {
    let key = section.text("sse-customer-key").map(Secret::new);
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let file = section.value("sse-customer-key-path", read);
    key.or(file.map(|key| Secret::new(key.trim())))
}
