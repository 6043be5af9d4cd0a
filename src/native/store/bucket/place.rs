//! Which bucket is meant, in messages and when two are compared.

use std::fmt;

use super::Bucket;

/// A bucket's name, with its provider where that is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    provider: Provider,
    name: String,
    endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    S3,
    Google,
    Azure,
}

impl Place {
    pub(super) fn of(bucket: &Bucket) -> Self {
        let (provider, name, endpoint) = match bucket {
            Bucket::S3(settings) => (Provider::S3, &settings.bucket, &settings.endpoint),
            Bucket::Gs(settings) => (Provider::Google, &settings.bucket, &settings.endpoint),
            Bucket::Abs(settings) => (Provider::Azure, &settings.container, &settings.endpoint),
        };
        Self {
            provider,
            name: name.clone(),
            endpoint: endpoint.clone(),
        }
    }

    pub(super) fn provider(&self) -> Provider {
        self.provider
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.provider {
            Provider::S3 => "s3",
            Provider::Google => "gs",
            Provider::Azure => "abs",
        };
        write!(f, "{kind}://{}", self.name)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => Ok(()),
        }
    }
}

impl Provider {
    /// Where credentials are looked for.
    pub(super) fn credentials(self) -> &'static str {
        match self {
            Self::S3 => {
                "set access-key-id and secret-access-key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in \
                 ~/.aws/credentials"
            }
            Self::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS to the file with the key of a service account"
            }
            Self::Azure => "set account-key, or AZURE_STORAGE_ACCOUNT_KEY",
        }
    }
}
