//! What the API server refused, in words for people. kube's own error text is a debug dump.

use std::fmt;

use kube::core::Status;

use crate::error::Kind;
use crate::set::findings::connection::{self, Cause};

/// A failed call: what was tried, on which object, and the API server's reason.
#[derive(Clone, Debug)]
pub struct ApiFailure {
    /// Such as `failed to apply StatefulSet pgset in namespace default`.
    pub what: String,
    /// The HTTP status code; `None` when there was no answer.
    pub code: Option<u16>,
    /// The API server's reason, such as `Forbidden`; empty when there was no answer.
    pub reason: String,
    pub message: String,
}

impl ApiFailure {
    pub fn new(what: impl Into<String>, error: &kube::Error) -> Self {
        let what = what.into();
        match error {
            kube::Error::Api(status) => Self::from_status(what, status),
            other => Self { what, code: None, reason: String::new(), message: innermost(other) },
        }
    }

    #[must_use]
    pub fn from_status(what: String, status: &Status) -> Self {
        let (code, reason) = (Some(status.code), status.reason.clone());
        // The API server's own word for it is no more than "Unauthorized".
        let message = match status.code {
            401 => "the API server does not accept your credentials".to_owned(),
            _ => status.message.clone(),
        };
        Self { what, code, reason, message }
    }

    /// The work ended before there was an answer.
    #[must_use]
    pub fn interrupted(what: &str) -> Self {
        let message = "ended before there was an answer".to_owned();
        Self { what: what.to_owned(), code: None, reason: String::new(), message }
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == Some(404)
    }

    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code == Some(403)
    }

    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code == Some(409)
    }

    /// Nobody answered, or the API server said it cannot answer now: worth another try.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code.is_none_or(|code| code == 429 || code >= 500)
    }
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.message)
    }
}

impl std::error::Error for ApiFailure {}

impl From<ApiFailure> for crate::error::Failure {
    fn from(failure: ApiFailure) -> Self {
        let cause = connection::cause(failure.code, &failure.message);
        let shown = Self::error(failure);
        match cause {
            // A finding like any other, only that nothing of a set was seen before it: the same exit code.
            Some(Cause { code, fix }) => {
                shown.of(Kind::Unhealthy).hint(fix).hint(format!("more about it: pgset explain {code}"))
            }
            None => shown,
        }
    }
}

/// The last cause of a chain: the outer ones only name the layers of the client.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: u16, message: &str) -> crate::error::Failure {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        ApiFailure::from_status("failed to list pods in namespace db".to_owned(), &status).into()
    }

    #[test]
    fn credentials_that_are_not_accepted_are_told_from_rights_that_are_missing() {
        let expired = failure(401, "Unauthorized");
        let words = "failed to list pods in namespace db: the API server does not accept your credentials";
        assert_eq!((expired.error.to_string().as_str(), expired.hints.len()), (words, 2));
        assert!(expired.hints[0].contains("log in again"));
        assert_eq!(expired.hints[1], "more about it: pgset explain PGS-API-CREDENTIALS");
        let forbidden = failure(403, "pods is forbidden");
        assert_eq!(forbidden.error.to_string(), "failed to list pods in namespace db: pods is forbidden");
        assert!(forbidden.hints[0].contains("for this right"));
        // A named cause ends with the exit code of a finding; what only this call is refused for does not.
        assert_eq!((expired.kind, forbidden.kind), (Kind::Unhealthy, Kind::Unhealthy));
        let conflict = failure(409, "conflict");
        assert_eq!((conflict.hints, conflict.kind), (Vec::new(), Kind::Error));
    }
}
