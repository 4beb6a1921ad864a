//! A pod refers to a Secret, a ConfigMap or a key in one that is not there.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::super::observation::PodReading;
use super::{Asked, Depth, Entry, Finding, Severity, began, quoted_after};

/// The kubelet's own view of Secrets and ConfigMaps may lag behind the API server's for a moment.
const GRACE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.pods.iter().filter_map(|pod| mount(asked, pod).or_else(|| config_error(asked, pod))).collect()
}

/// A volume's Secret or ConfigMap is missing: an event, while the container is still being created.
fn mount(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let running = pod.container().and_then(|container| container.state.as_ref()).is_some_and(|s| s.running.is_some());
    if running {
        return None;
    }
    let name = pod.metadata.name.as_deref()?;
    let failed = asked.seen.events_of("Pod", name).filter(|event| event.reason.as_deref() == Some("FailedMount"));
    let event = failed.filter(|event| event.message.as_deref().is_some_and(|m| missing(m).is_some())).last()?;
    let (kind, object) = missing(event.message.as_deref()?)?;
    Some(
        finding(asked, name, kind, object, event.message.as_deref()?)
            .blocking_from(began(event).max(asked.since), GRACE),
    )
}

/// An environment variable's Secret, ConfigMap or key is missing: the container's own waiting reason.
fn config_error(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let waiting = pod.container()?.state.as_ref()?.waiting.as_ref()?;
    if waiting.reason.as_deref() != Some("CreateContainerConfigError") {
        return None;
    }
    let name = pod.metadata.name.as_deref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(match missing(message) {
        Some((kind, object)) => finding(asked, name, kind, object, message),
        None => Finding::new(
            "PGS-CONTAINER-CONFIG",
            Severity::Fatal,
            "Pod",
            name,
            "the container's configuration is not valid",
        )
        .evidence(message)
        .fix("mend what the message names, then: pgset up"),
    })
}

fn finding(asked: &Asked<'_>, pod: &str, kind: &'static str, object: &str, message: &str) -> Finding {
    let namespace = &asked.seen.namespace;
    let code = if kind == "Secret" { "PGS-SECRET-MISSING" } else { "PGS-CONFIGMAP-MISSING" };
    let summary = format!("{kind} {object} does not exist in namespace {namespace}, or lacks what {pod} needs of it");
    let finding = Finding::new(code, Severity::Fatal, kind, object, summary).evidence(message);
    if object == format!("{}-passwords", asked.seen.name) {
        return finding.fix("if the set holds no data yet, make a new one: pgset up").fix(format!(
            "else put back the old one, the database knows only its passwords: kubectl -n {namespace} apply -f …"
        ));
    }
    finding.fix("put it back: pgset up")
}

/// The kind and name of what a message says is missing.
fn missing(message: &str) -> Option<(&'static str, &str)> {
    if !(message.contains("not found")
        || message.contains("references non-existent")
        || message.contains("couldn't find key"))
    {
        return None;
    }
    for (kind, word) in [("Secret", "secret"), ("ConfigMap", "configmap")] {
        if let Some(object) = quoted_after(message, &format!("{word} ")) {
            return Some((kind, object.rsplit('/').next().unwrap_or(object)));
        }
    }
    // "couldn't find key user in Secret default/pgset-passwords"
    for kind in ["Secret", "ConfigMap"] {
        if let Some((_, rest)) = message.split_once(&format!(" in {kind} ")) {
            let object = rest.split_whitespace().next()?;
            return Some((kind, object.rsplit('/').next().unwrap_or(object)));
        }
    }
    None
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-SECRET-MISSING",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "a Secret or a key in it is missing",
        meaning: "The members need a Secret, or a key in one, that is not there.",
        known_by: "A FailedMount event, the container's waiting reason, or the start script's last words.",
        fix: "Put it back. The database knows only its own passwords, so a set with data needs the old ones.",
        doubt: "The kubelet's view of Secrets may lag for a moment, which is why a mount gets a few seconds.",
    },
    Entry {
        code: "PGS-CONFIGMAP-MISSING",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "a ConfigMap or a key in it is missing",
        meaning: "The members need a ConfigMap that is not there: their scripts and PostgreSQL's settings.",
        known_by: "A FailedMount event, or the container's waiting reason.",
        fix: "Run pgset up again: it puts the ConfigMap back.",
        doubt: "The kubelet's view of ConfigMaps may lag for a moment, which is why a mount gets a few seconds.",
    },
    Entry {
        code: "PGS-CONTAINER-CONFIG",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the container's configuration is not valid",
        meaning: "The kubelet cannot make a container from what the pod says.",
        known_by: "The container waits with CreateContainerConfigError; its message is shown.",
        fix: "Mend what the message names, then pgset up.",
        doubt: "None known.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    #[test]
    fn a_missing_secret_is_named_and_ends_the_wait_after_the_grace() {
        let message = "MountVolume.SetUp failed for volume \"passwords\" : secret \"pgset-passwords\" not found";
        let creating = json!({"state": {"waiting": {"reason": "ContainerCreating"}}});
        let seen = seen(json!([pod("pgset-0", creating)]), json!([event("Pod", "pgset-0", "FailedMount", message)]));
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!((found[0].code, found[0].object.name.as_str()), ("PGS-SECRET-MISSING", "pgset-passwords"));
        assert!(!found[0].ends_wait(noon()) && found[0].ends_wait(noon() + GRACE));
    }

    #[test]
    fn a_mount_that_succeeded_in_the_end_is_no_finding() {
        let message = "MountVolume.SetUp failed for volume \"config\" : configmap \"pgset-config\" not found";
        let running = json!({"state": {"running": {}}});
        let seen = seen(json!([pod("pgset-0", running)]), json!([event("Pod", "pgset-0", "FailedMount", message)]));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }

    #[test]
    fn a_missing_key_is_hopeless_at_once() {
        let message = "couldn't find key user in Secret default/pgset-passwords";
        let waiting = json!({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": message}}});
        let seen = seen(json!([pod("pgset-0", waiting)]), json!([]));
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!((found[0].code, found[0].object.name.as_str()), ("PGS-SECRET-MISSING", "pgset-passwords"));
        assert!(found[0].ends_wait(noon()));
    }

    #[test]
    fn the_node_authorizers_race_is_no_finding() {
        let message = "MountVolume.SetUp failed for volume \"config\" : configmap \"pgset-config\" is forbidden: no \
            relationship found between node 'node1' and this object";
        let seen = seen(json!([pod("pgset-0", json!({}))]), json!([event("Pod", "pgset-0", "FailedMount", message)]));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
