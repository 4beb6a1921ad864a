//! The API server cannot be used: what it or the way to it said, before anything of a set is seen.
//!
//! No finding of an observation: there is none. The codes and words are the catalogue's like all others.

use super::{Asked, Depth, Entry, Finding, Severity};

/// Why the API server did not do as it was asked, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    pub code: &'static str,
    pub fix: &'static str,
}

/// What a failed call tells of the connection; `status` is the HTTP status code, `None` where there was no answer. `None` for
/// what only this call is refused for.
#[must_use]
pub fn cause(status: Option<u16>, message: &str) -> Option<Cause> {
    let denied = || super::admission::denied(message).is_some();
    let (code, fix) = match status {
        Some(_) if denied() => (
            "PGS-ADMISSION-POLICY",
            "change what the rule objects to, or ask whoever runs the cluster for an exception",
        ),
        None => unanswered(&message.to_lowercase()),
        Some(401) => ("PGS-API-CREDENTIALS", "they may have expired: log in again, or choose another --context"),
        Some(403) => (
            "PGS-API-FORBIDDEN",
            "ask whoever runs the cluster for this right; pgset up lists all that are missing at once",
        ),
        Some(_) => return None,
    };
    Some(Cause { code, fix })
}

/// No answer, in the words of the network or of TLS.
fn unanswered(message: &str) -> (&'static str, &'static str) {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if !says(&["certificate"]) {
        return (
            "PGS-API-UNREACHABLE",
            "is the cluster up and the right context chosen? kubectl config current-context",
        );
    }
    if says(&["notvalidyet", "not valid yet", "not yet valid"]) {
        return (
            "PGS-API-CLOCK",
            "is this machine's clock right? date; a certificate from the future means that one of the two clocks is wrong",
        );
    }
    if says(&["expired"]) {
        return (
            "PGS-API-CERTIFICATE-EXPIRED",
            "the certificate is over, or this machine's clock is wrong (date): renew it, or get a new kubeconfig from whoever runs the cluster",
        );
    }
    if says(&["unknownissuer", "unknown issuer", "badsignature"]) {
        return (
            "PGS-API-OTHER-AUTHORITY",
            "the kubeconfig's certificate-authority-data is not this cluster's: it was made for another cluster, or the cluster was made again",
        );
    }
    if says(&["notvalidforname", "not valid for"]) {
        return (
            "PGS-API-OTHER-NAME",
            "the API server's certificate is for another name: use the address that the cluster's own kubeconfig has",
        );
    }
    (
        "PGS-API-CERTIFICATE",
        "check the kubeconfig's certificate-authority-data, client-certificate-data and client-key-data",
    )
}

/// A set that is seen has a connection.
pub(super) fn findings(_: &Asked<'_>) -> Vec<Finding> {
    Vec::new()
}

const fn entry(code: &'static str, title: &'static str, [meaning, known_by, fix, doubt]: [&'static str; 4]) -> Entry {
    Entry { code, severity: Severity::Fatal, depth: Depth::Cluster, title, meaning, known_by, fix, doubt }
}

pub(super) const CATALOGUE: &[Entry] = &[
    entry(
        "PGS-API-UNREACHABLE",
        "the API server does not answer",
        [
            "The address that the kubeconfig's context names does not take the connection, or does not answer.",
            "Connecting failed, or ended without an HTTP answer; the network's own words stand beside it.",
            "Start the cluster, or choose another context: kubectl config get-contexts.",
            "A VPN or proxy that is down looks the same.",
        ],
    ),
    entry(
        "PGS-API-CREDENTIALS",
        "the API server does not accept your credentials",
        [
            "The kubeconfig's user is unknown to the cluster, or its token or certificate is over.",
            "The API server answered 401.",
            "Log in again, or choose another --context.",
            "A clock that is wrong by hours makes good tokens bad.",
        ],
    ),
    entry(
        "PGS-API-FORBIDDEN",
        "you lack a right",
        [
            "The API server knows you, and does not let you do this.",
            "The API server answered 403; its message names the verb, the resource and the namespace.",
            "Ask whoever runs the cluster for it; pgset up lists all that are missing at once.",
            "An admission plugin of the cluster may refuse with the same answer; its name stands in the message.",
        ],
    ),
    entry(
        "PGS-API-CLOCK",
        "a certificate is from the future",
        [
            "One side's certificate is not valid yet: the clock here or there is wrong.",
            "The TLS library compared the certificate's dates with this machine's clock.",
            "Look at both clocks: date.",
            "A certificate that was made for later is rare, but does exist.",
        ],
    ),
    entry(
        "PGS-API-CERTIFICATE-EXPIRED",
        "a certificate is over",
        [
            "The API server's certificate, or yours, is no longer valid.",
            "The TLS library compared the certificate's dates with this machine's clock, or the server said so.",
            "Renew it, or get a new kubeconfig from whoever runs the cluster.",
            "A clock that runs ahead makes good certificates old.",
        ],
    ),
    entry(
        "PGS-API-OTHER-AUTHORITY",
        "the certificate is of another authority",
        [
            "Whoever answers at that address is not the cluster that the kubeconfig was made for.",
            "The API server's certificate is not signed by the kubeconfig's certificate-authority-data.",
            "Get the kubeconfig of this cluster.",
            "A proxy that looks into TLS shows a certificate of its own.",
        ],
    ),
    entry(
        "PGS-API-OTHER-NAME",
        "the certificate is for another name",
        [
            "The kubeconfig reaches the API server by a name or address that its certificate does not have.",
            "The TLS library compared the address with the certificate's names.",
            "Use the address that the cluster's own kubeconfig has.",
            "A tunnel to the API server has this effect too.",
        ],
    ),
    entry(
        "PGS-API-CERTIFICATE",
        "a certificate is not accepted",
        [
            "One side does not accept the other's certificate, for a reason that is none of the usual ones.",
            "The TLS library's or the server's own words, which stand beside it.",
            "Check the kubeconfig's certificate-authority-data, client-certificate-data and client-key-data.",
            "The words of TLS libraries change; the cause may be one of the other codes.",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_call_tells_of_the_connection() {
        for (status, message, code) in [
            (None, "Connection refused (os error 111)", "PGS-API-UNREACHABLE"),
            (
                None,
                "invalid peer certificate: certificate expired: verification time 1 (UNIX)",
                "PGS-API-CERTIFICATE-EXPIRED",
            ),
            (None, "invalid peer certificate: certificate not valid yet", "PGS-API-CLOCK"),
            (None, "invalid peer certificate: UnknownIssuer", "PGS-API-OTHER-AUTHORITY"),
            (None, "invalid peer certificate: certificate not valid for name \"x\"", "PGS-API-OTHER-NAME"),
            (None, "received fatal alert: CertificateUnknown", "PGS-API-CERTIFICATE"),
            (Some(401), "Unauthorized", "PGS-API-CREDENTIALS"),
            (Some(403), "pods is forbidden", "PGS-API-FORBIDDEN"),
            (Some(400), "admission webhook \"a.example.com\" denied the request: no", "PGS-ADMISSION-POLICY"),
            (
                Some(422),
                "statefulsets \"pgset\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no",
                "PGS-ADMISSION-POLICY",
            ),
        ] {
            assert_eq!(cause(status, message).map(|cause| cause.code), Some(code), "{message}");
            assert!(super::super::catalogue::entry(code).is_some(), "{code}");
        }
        assert_eq!(cause(Some(409), "conflict"), None);
        assert_eq!(cause(Some(500), "certificate"), None);
    }
}
