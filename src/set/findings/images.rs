//! The image cannot be had: no such image, a malformed name, a registry that refuses or does not answer.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Event, Pod};

use super::super::observation::{Observation, PodReading};
use super::revision::speaks;
use super::{Asked, Depth, Entry, Finding, Severity, began, happened};

/// A registry or the way to it may be back after a moment; the kubelet has tried twice by then.
const UNREACHABLE_GRACE: SignedDuration = SignedDuration::from_secs(20);

/// The official image's 150 MB take this long at 40 Mbit/s.
const PULLING_NORMAL: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let current = asked.seen.pods.iter().filter(|pod| speaks(asked.seen, pod));
    current.filter_map(|pod| image(asked, pod)).collect()
}

fn image(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let container = pod.container()?;
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if reason == "ContainerCreating" {
        return pulling(asked, pod);
    }
    if !matches!(
        reason,
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError"
    ) {
        return None;
    }
    let name = pod.metadata.name.as_deref()?;
    let image = &pod.spec.as_ref()?.containers.first()?.image.clone().unwrap_or_default();
    // A back-off repeats the pull's error on recent kubelets; on older ones only the event has it.
    let failed = asked.seen.events_of("Pod", name).filter(|event| event.reason.as_deref() == Some("Failed"));
    let failed = failed.filter(|event| event.message.as_deref().is_some_and(|message| message.contains("ull"))).last();
    let waiting_says = waiting.message.as_deref().unwrap_or_default();
    let event_says = failed.and_then(|event| event.message.as_deref()).unwrap_or_default();
    let says = format!("{waiting_says} {event_says}").to_lowercase();
    let about = |code, severity, summary: String| Finding::new(code, severity, "Pod", name, summary);
    let list = |finding: Finding| finding.fix("choose an image that exists: pgset up --image …");

    let finding = if reason == "InvalidImageName" {
        list(about("PGS-IMAGE-INVALID", Severity::Fatal, format!("{image:?} is not a valid image name")))
    } else if reason == "ErrImageNeverPull" {
        about(
            "PGS-IMAGE-NOT-ON-NODE",
            Severity::Fatal,
            format!("image {image} is not on the node and may not be pulled"),
        )
        .fix("load it on the node, or let it be pulled: imagePullPolicy IfNotPresent")
    } else if ["not found", "manifest unknown", "does not exist"].iter().any(|words| says.contains(words)) {
        list(about("PGS-IMAGE-NOT-FOUND", Severity::Fatal, format!("image {image} does not exist in its registry")))
    } else if ["unauthorized", "denied", "forbidden", "no basic auth"].iter().any(|words| says.contains(words)) {
        about("PGS-IMAGE-DENIED", Severity::Fatal, format!("the registry does not give image {image} to this cluster"))
            .fix(format!("add pull credentials to ServiceAccount {}-sa: imagePullSecrets", asked.seen.name))
            .fix("or choose a public image: pgset up --image …")
    } else {
        let since = failed.and_then(began).max(asked.since);
        about("PGS-IMAGE-UNREACHABLE", Severity::Blocking, format!("the registry of image {image} cannot be reached"))
            .fix("check the node's network and proxy, or name a registry it reaches: pgset up --image …")
            .blocking_from(since, UNREACHABLE_GRACE)
    };
    let evidence = if waiting_says.len() > event_says.len() { waiting_says } else { event_says };
    Some(finding.evidence(if evidence.is_empty() { reason } else { evidence }))
}

/// What the kubelet did last about the pod's image. Only its own events: others have finer times and may seem to be newer.
pub(in crate::set) fn newest_of_image<'a>(seen: &'a Observation, pod: &'a str) -> Option<&'a Event> {
    let steps = ["Pulling", "Pulled", "Failed", "BackOff", "Created"];
    seen.events_of("Pod", pod)
        .filter(|event| event.reason.as_deref().is_some_and(|reason| steps.contains(&reason)))
        .last()
}

/// A pull takes minutes when the image is large or the registry slow, and says nothing until it ends.
fn pulling(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let name = pod.metadata.name.as_deref()?;
    let newest = newest_of_image(asked.seen, name).filter(|event| event.reason.as_deref() == Some("Pulling"))?;
    let image = pod.spec.as_ref()?.containers.first()?.image.clone().unwrap_or_default();
    let summary = format!("image {image} is still being pulled");
    let finding = Finding::new("PGS-IMAGE-PULLING", Severity::Waiting, "Pod", name, summary)
        .fix("wait: a large image or a slow registry takes minutes, and the kubelet says when it gives up")
        .fix("to see whether the node gets it at all, on the node: crictl pull IMAGE");
    Some(finding.normal_for(happened(newest).max(asked.since), PULLING_NORMAL))
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-IMAGE-PULLING",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "the image is still being pulled",
        meaning: "The node is loading the image; nothing can start before that.",
        known_by: "The pod's newest event is Pulling and its container is still being created.",
        fix: "Wait; the kubelet reports when a pull fails.",
        doubt: "A registry that hangs looks the same as one that is slow.",
    },
    Entry {
        code: "PGS-IMAGE-NOT-FOUND",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the image does not exist",
        meaning: "The registry says that it has no such image or tag.",
        known_by: "The container waits with ErrImagePull or ImagePullBackOff and the registry's not found.",
        fix: "Choose an image that exists: pgset up --image.",
        doubt: "A registry that hides private images answers the same; so does one to which the image is being pushed at this moment.",
    },
    Entry {
        code: "PGS-IMAGE-DENIED",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the registry refuses the image",
        meaning: "The registry wants credentials that the cluster does not send.",
        known_by: "The container waits with ErrImagePull and the registry's unauthorized, denied or forbidden.",
        fix: "Add imagePullSecrets to the set's ServiceAccount, or choose a public image.",
        doubt: "Some registries say denied for an image that does not exist.",
    },
    Entry {
        code: "PGS-IMAGE-INVALID",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the image name is malformed",
        meaning: "What is given as the image is not an image name at all.",
        known_by: "The container waits with InvalidImageName.",
        fix: "Correct the name: pgset up --image.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-IMAGE-NOT-ON-NODE",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "the image may not be pulled and is not on the node",
        meaning: "The pods may use only images that are on the node already, and this one is not.",
        known_by: "The container waits with ErrImageNeverPull.",
        fix: "Load the image on the node, or let it be pulled: imagePullPolicy IfNotPresent.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-IMAGE-UNREACHABLE",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the registry cannot be reached",
        meaning: "The node cannot reach the image's registry.",
        known_by: "The container waits with ErrImagePull and neither a not found nor a refusal.",
        fix: "Check the node's network, proxy and DNS, or name a registry that it reaches.",
        doubt: "A registry that restarts is back soon; the kubelet has tried twice by then.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn found(reason: &str, message: &str) -> Vec<Finding> {
        let waiting = json!({"state": {"waiting": {"reason": reason, "message": message}}});
        let failed = event("Pod", "pgset-0", "Failed", &format!("Failed to pull image: {message}"));
        let seen = seen(json!([pod("pgset-0", waiting)]), json!([failed]));
        findings(&Asked { seen: &seen, since: None })
    }

    #[test]
    fn a_missing_or_malformed_image_is_hopeless_at_once() {
        for (reason, message, code) in [
            ("ErrImagePull", "docker.io/library/postgres:0: not found", "PGS-IMAGE-NOT-FOUND"),
            ("ImagePullBackOff", "manifest unknown", "PGS-IMAGE-NOT-FOUND"),
            ("InvalidImageName", "couldn't parse image name", "PGS-IMAGE-INVALID"),
            ("ErrImagePull", "401 Unauthorized", "PGS-IMAGE-DENIED"),
        ] {
            let found = found(reason, message);
            assert_eq!((found[0].code, found[0].ends_wait(noon())), (code, true));
        }
    }

    #[test]
    fn an_unreachable_registry_gets_its_grace() {
        let found = found("ErrImagePull", "dial tcp: lookup registry: no such host");
        assert_eq!(found[0].code, "PGS-IMAGE-UNREACHABLE");
        assert!(!found[0].ends_wait(noon() + UNREACHABLE_GRACE - SignedDuration::from_secs(1)));
        assert!(found[0].ends_wait(noon() + UNREACHABLE_GRACE));
    }

    #[test]
    fn a_pull_is_waited_for_however_long_it_takes() {
        assert!(found("ContainerCreating", "").is_empty(), "its newest event is no pull");
        let creating = json!({"state": {"waiting": {"reason": "ContainerCreating"}}});
        let event = event("Pod", "pgset-0", "Pulling", "Pulling image \"docker.io/library/postgres:17\"");
        // The scheduler's times are finer: its event of the same second seems to be the newer one.
        let scheduled = json!({"metadata": {}, "involvedObject": {"kind": "Pod", "name": "pgset-0"}, "reason": "Scheduled",
            "eventTime": "2026-11-24T12:00:00.500000Z"});
        let seen = seen(json!([pod("pgset-0", creating)]), json!([event, scheduled]));
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!((found[0].code, found[0].severity), ("PGS-IMAGE-PULLING", Severity::Waiting));
        assert_eq!(found[0].normal_until, Some(noon() + PULLING_NORMAL));
    }
}
