//! What providers charge for requests and storage, in US dollars.
//!
//! List prices without free allowances, from the pages named with each, as they stood in 2025; what a bill says is
//! right. Requests that delete are free at all of these.

use crate::native::store::{Destination, Kind, Meter};

/// A provider's prices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Whose they are.
    pub provider: &'static str,
    /// Where they were read.
    pub source: &'static str,
    /// For a million requests that create.
    pub put: f64,
    /// For a million pages of listings.
    pub list: f64,
    /// For a million requests that read or look.
    pub get: f64,
    /// For a GB (10⁹ bytes) of storage a month.
    pub storage: f64,
}

const S3: Prices = Prices {
    provider: "AWS S3 Standard, us-east-1",
    source: "https://aws.amazon.com/s3/pricing/",
    put: 5.00,
    list: 5.00,
    get: 0.40,
    storage: 0.023,
};

const R2: Prices = Prices {
    provider: "Cloudflare R2 Standard",
    source: "https://developers.cloudflare.com/r2/pricing/",
    put: 4.50,
    list: 4.50,
    get: 0.36,
    storage: 0.015,
};

const B2: Prices = Prices {
    provider: "Backblaze B2",
    source: "https://www.backblaze.com/cloud-storage/transaction-pricing",
    put: 0.0,
    list: 4.00,
    get: 0.40,
    storage: 0.006,
};

const GCS: Prices = Prices {
    provider: "Google Cloud Storage Standard, us-east1",
    source: "https://cloud.google.com/storage/pricing",
    put: 5.00,
    list: 5.00,
    get: 0.40,
    storage: 0.020,
};

/// The prices at a destination; `None` where they are not known, or requests are not what is paid for.
pub fn at(destination: &Destination) -> Option<Prices> {
    match destination {
        Destination::S3(settings) => match settings.endpoint.as_deref() {
            None => Some(S3),
            Some(endpoint) => {
                let host = endpoint.split("://").last()?.split(['/', ':']).next()?;
                let at = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
                match () {
                    () if at("amazonaws.com") => Some(S3),
                    () if at("r2.cloudflarestorage.com") => Some(R2),
                    () if at("backblazeb2.com") => Some(B2),
                    () if at("storage.googleapis.com") => Some(GCS),
                    () => None,
                }
            }
        },
        Destination::Gs(settings) if settings.endpoint.is_none() => Some(GCS),
        // What the Worker itself costs comes to it.
        Destination::Worker(_) => Some(R2),
        _ => None,
    }
}

impl Prices {
    /// For these requests.
    pub fn requests(&self, requests: impl Fn(Kind) -> f64) -> f64 {
        let million = |kind| requests(kind) / 1e6;
        million(Kind::Put) * self.put
            + million(Kind::List) * self.list
            + (million(Kind::Get) + million(Kind::Head)) * self.get
    }

    /// For the requests that were counted.
    pub fn metered(&self, meter: &Meter) -> f64 {
        self.requests(|kind| meter.requests(kind) as f64)
    }

    /// For so many bytes, a month.
    pub fn storage(&self, bytes: u64) -> f64 {
        bytes as f64 / 1e9 * self.storage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(url: &str) -> Option<&'static str> {
        at(&Destination::parse(url, true).unwrap()).map(|prices| prices.provider)
    }

    #[test]
    fn providers_are_known_by_where_they_are() {
        assert_eq!(provider("s3://bucket/app?region=us-east-1"), Some(S3.provider));
        let r2 = "s3://bucket/app?endpoint=https://abc.r2.cloudflarestorage.com";
        assert_eq!(provider(r2), Some(R2.provider));
        let b2 = "s3://bucket/app?endpoint=https://s3.us-west-002.backblazeb2.com";
        assert_eq!(provider(b2), Some(B2.provider));
        assert_eq!(provider("gs://bucket/app"), Some(GCS.provider));
        for unknown in [
            "file:///srv/backup",
            "s3://bucket/app?endpoint=http://127.0.0.1:9000",
        ] {
            assert_eq!(provider(unknown), None, "{unknown}");
        }
        // Not a suffix of another name.
        let evil = "s3://bucket/app?endpoint=https://r2.cloudflarestorage.com.example.org";
        assert_eq!(provider(evil), None);
    }

    #[test]
    fn a_segment_a_second_on_s3_is_what_litestreams_users_know() {
        // Litestream's own figure for one PUT a second is $12.96 a month.
        let month = 30.0 * 86_400.0;
        let cost = S3.requests(|kind| if kind == Kind::Put { month } else { 0.0 });
        assert!((cost - 12.96).abs() < 0.001, "{cost}");
    }
}
