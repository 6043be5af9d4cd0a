//! What a bucket is and how it is reached, as a URL or a configuration says it.

use crate::native::store::secret::Secret;

/// A replica in a bucket of AWS S3 or of a provider that speaks its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// Name of the bucket, or the ARN of an access point.
    pub bucket: String,
    /// What the keys start with, without slashes at either end.
    pub path: String,
    /// Where the bucket is; found out by asking where it is not said.
    pub region: Option<String>,
    /// Another provider than AWS: `https://host[:port]`.
    pub endpoint: Option<String>,
    /// The bucket in the URL's path instead of its host. The default is true where there is an endpoint.
    pub force_path_style: Option<bool>,
    /// Accept any certificate: only for tests, on networks that can be trusted.
    pub skip_verify: bool,
    /// Sign the content of uploads too; true by default.
    pub sign_payload: Option<bool>,
    /// Who asks. Without it, the environment, a profile or the machine's role tells.
    pub access_key_id: Option<String>,
    /// What proves it.
    pub secret_access_key: Option<Secret>,
    /// A profile in `~/.aws/credentials` that has the keys.
    pub profile: Option<String>,
    /// With temporary keys.
    pub session_token: Option<Secret>,
    /// As objects are stored, `STANDARD_IA` for instance.
    pub storage_class: Option<String>,
    /// Bytes of a part of a large object.
    pub part_size: Option<u64>,
    /// Parts that are sent at once.
    pub concurrency: Option<usize>,
    /// Encryption by the provider with a key of its key service: the key's id.
    pub sse_kms_key_id: Option<String>,
    /// Encryption by the provider with this key: 32 bytes in base64.
    pub sse_customer_key: Option<Secret>,
    /// Whether the provider creates objects only if they are absent when asked to. Found out where it is not said.
    pub conditional_writes: Option<bool>,
}

/// A replica in a bucket of Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GsSettings {
    /// Name of the bucket.
    pub bucket: String,
    /// What the names start with, without slashes at either end.
    pub path: String,
    /// Another address of the service, an emulator's for instance.
    pub endpoint: Option<String>,
    /// The file with the key of a service account; the environment or the machine's role where it is not said.
    pub credentials: Option<std::path::PathBuf>,
}

/// A replica in a container of Azure Blob Storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbsSettings {
    /// Name of the storage account; from the environment where it is not said.
    pub account: Option<String>,
    /// Name of the container.
    pub container: String,
    /// What the names start with, without slashes at either end.
    pub path: String,
    /// Another address of the service, an emulator's for instance.
    pub endpoint: Option<String>,
    /// The account's key.
    pub account_key: Option<Secret>,
    /// A shared access signature instead of a key.
    pub sas_token: Option<Secret>,
}
