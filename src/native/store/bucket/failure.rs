//! What a refusal means, and what to do about it.

use object_store::client::HttpError;

use super::answer::Answer;
use super::place::Place;
use super::service::NoCredentials;
use crate::store::Error;

/// Why something was not done to an object of a bucket. `reached` tells that the same bucket took our credentials
/// before.
pub(super) fn meaning(error: &object_store::Error, what: &str, place: &Place, reached: bool) -> Error {
    if let Some(answer) = find::<Answer>(error) {
        return of_answer(answer, what, place);
    }
    if find::<NoCredentials>(error).is_some() && !reached {
        return Error::Denied(format!(
            "{place} wants credentials and there are none: {}",
            place.provider().credentials()
        ));
    }
    if find::<HttpError>(error).is_some() {
        return Error::Unavailable(format!("{place} cannot be reached: {}", root_cause(error)));
    }
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound(what.to_owned()),
        object_store::Error::AlreadyExists { .. } => Error::Exists(what.to_owned()),
        _ => Error::Protocol(format!(
            "{place} answers what cannot be understood: {}; check the endpoint",
            root_cause(error)
        )),
    }
}

fn of_answer(answer: &Answer, what: &str, place: &Place) -> Error {
    let Answer { status, code, .. } = answer;
    match (code.as_str(), status) {
        ("NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName", _) => Error::Refused(format!(
            "{place} does not exist ({answer}): create it, or check its name and where it is"
        )),
        ("NoSuchUpload", _) => Error::Unavailable(format!(
            "an upload to {place} was given up by the provider ({answer})"
        )),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307 | 308) => Error::Refused(match &answer.region {
            Some(region) => format!("{place} is in region {region}: set region to it"),
            None => format!("{place} is in another region or at another endpoint ({answer}): check both"),
        }),
        ("InvalidAccessKeyId" | "UnknownAccessKeyId", _) => Error::Denied(format!(
            "{place} does not know the access key ({answer}): check access-key-id and the endpoint it belongs to"
        )),
        ("SignatureDoesNotMatch", _) => Error::Denied(format!(
            "{place} refuses the signature ({answer}): check secret-access-key, and region"
        )),
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => Error::Denied(format!(
            "the temporary credentials for {place} have expired ({answer}): get new ones"
        )),
        // The clock may be set in a moment.
        ("RequestTimeTooSkewed" | "RequestExpired", _) => Error::Unavailable(format!(
            "{place} finds that the clock of this machine is wrong ({answer}): set it, by NTP for instance"
        )),
        ("ConditionalRequestConflict" | "OperationAborted", _) => Error::Unavailable(format!(
            "{place} is busy with another request for {what} ({answer})"
        )),
        (_, 401 | 403) => Error::Denied(format!(
            "{place} denies access ({answer}): check the credentials, and that they may list, read, create and delete \
             objects there"
        )),
        (_, 404) => Error::NotFound(format!("{what} in {place}")),
        (_, 409 | 412) => Error::Exists(format!("{what} in {place}")),
        (_, 416) => Error::OutOfRange(what.to_owned()),
        (_, 408 | 429 | 500 | 502..) => {
            Error::Unavailable(format!("{place} is unavailable: it answers {answer}"))
        }
        _ => Error::Refused(format!("{place} refuses {what}: {answer}")),
    }
}

/// Whether an endpoint says that it does not know how to create only what is absent.
pub(super) fn knows_no_conditions(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. })
        || find::<Answer>(error).is_some_and(|answer| answer.status == 501 || answer.code == "NotImplemented")
}

/// Where the bucket is, if that is why it refused.
pub(super) fn right_region(error: &object_store::Error) -> Option<String> {
    let answer = find::<Answer>(error)?;
    (matches!(answer.status, 301 | 307 | 400 | 403)).then(|| answer.region.clone())?
}

/// The first of that kind among the causes.
pub(super) fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

/// The last in a chain of causes: "connection refused", not "error sending request".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::store::bucket::{Bucket, S3Settings};

    fn meaning_of(status: u16, code: &str) -> Error {
        let bucket = Bucket::S3(S3Settings {
            bucket: "backups".to_owned(),
            ..S3Settings::default()
        });
        let answer = Answer {
            status,
            code: code.to_owned(),
            message: "Why".to_owned(),
            region: None,
        };
        of_answer(&answer, "segment 0/x", &Place::of(&bucket))
    }

    #[test]
    fn answers_become_what_a_caller_does_about_them() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, ""),
            (403, "RequestTimeTooSkewed"),
            (409, "ConditionalRequestConflict"),
            (404, "NoSuchUpload"),
            (502, ""),
        ] {
            assert!(meaning_of(status, code).is_passing(), "{status} {code}");
        }
        assert!(matches!(meaning_of(404, "NoSuchKey"), Error::NotFound(_)));
        assert!(matches!(meaning_of(404, ""), Error::NotFound(_)));
        assert!(matches!(meaning_of(404, "NoSuchBucket"), Error::Refused(why) if why.contains("create it")));
        assert!(matches!(meaning_of(412, "PreconditionFailed"), Error::Exists(_)));
        assert!(matches!(meaning_of(409, "BlobAlreadyExists"), Error::Exists(_)));
        assert!(matches!(meaning_of(416, "InvalidRange"), Error::OutOfRange(_)));
        assert!(matches!(meaning_of(400, "EntityTooLarge"), Error::Refused(_)));
        assert!(
            matches!(meaning_of(301, "PermanentRedirect"), Error::Refused(why) if why.contains("region"))
        );
        for code in [
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "AccessDenied",
            "",
        ] {
            assert!(
                matches!(meaning_of(403, code), Error::Denied(why) if why.contains("s3://backups")),
                "{code}"
            );
        }
    }
}
