//! A claim does not bind, or a volume cannot be mounted.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};

use super::super::observation::PodReading;
use super::{Asked, Finding, Severity, began, quoted_after};

/// Volumes are created beside their claims; the binder needs a moment to see both.
const BINDING_GRACE: SignedDuration = SignedDuration::from_secs(8);

/// The volume controller looks at an unbound claim again every 15 s. What it said before it had seen the volumes, as after
/// a restart of its own or of the API server, counts only once it had time to look twice.
const VOLUME_GRACE: SignedDuration = SignedDuration::from_secs(20);

/// A provisioner may fail while its back end is busy; it retries within this time.
const PROVISIONING_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// A mount is retried after half a second, one, two, four…: what fails for this long keeps failing.
const MOUNT_GRACE: SignedDuration = SignedDuration::from_secs(8);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let claims = asked.seen.claims.iter().filter_map(|claim| claim_finding(asked, claim));
    claims.chain(asked.seen.pods.iter().filter_map(|pod| mount(asked, pod))).collect()
}

fn claim_finding(asked: &Asked<'_>, claim: &PersistentVolumeClaim) -> Option<Finding> {
    let name = claim.metadata.name.as_deref()?;
    let namespace = &asked.seen.namespace;
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    if phase == "Lost" {
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or("?");
        let summary = format!("the claim's PersistentVolume {volume} is gone");
        return Some(
            Finding::new("PGS-CLAIM-LOST", Severity::Fatal, "PersistentVolumeClaim", name, summary)
                .fix(format!("restore PersistentVolume {volume} from its manifest; the data may still be behind it")),
        );
    }
    if phase != "Pending" {
        return None;
    }
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let newest = asked.seen.events_of("PersistentVolumeClaim", name).last();
    let reason = newest.and_then(|event| event.reason.as_deref()).unwrap_or_default();
    let message = newest.and_then(|event| event.message.as_deref()).unwrap_or_default();
    let about = |code, summary: String| {
        Finding::new(code, Severity::Blocking, "PersistentVolumeClaim", name, summary).evidence(message)
    };
    let from = |event: Option<&Event>| event.and_then(began).max(asked.since);
    let listed = "see which there are: kubectl get storageclass";
    // A claim keeps its class for good; this one has no volume, and so no data.
    let set = &asked.seen.name;
    let again = format!(
        "{listed}, then: pgset down --name {set} -n {namespace} && kubectl -n {namespace} delete pvc {name} && pgset up --name {set} -n {namespace} --storage-class …"
    );
    Some(match reason {
        "ProvisioningFailed" if message.contains("not found") => {
            let missing = quoted_after(message, "storageclass.storage.k8s.io").or(class).unwrap_or("?");
            about("PGS-CLASS-MISSING", format!("StorageClass {missing} does not exist"))
                .fix(again)
                .blocking_from(from(newest), BINDING_GRACE)
        }
        "ProvisioningFailed" => {
            about("PGS-PROVISIONING-FAILED", "the StorageClass's provisioner cannot make a volume".to_owned())
                .fix(format!("kubectl -n {namespace} describe pvc {name}; then look at the provisioner's own log"))
                .blocking_from(from(newest), PROVISIONING_GRACE)
        }
        "FailedBinding" if class.is_none() => {
            about("PGS-NO-DEFAULT-CLASS", "the cluster has no default StorageClass".to_owned())
                .fix(again)
                .fix("or, on a one-node cluster, the same with --storage hostpath --host-path DIR")
                .blocking_from(from(newest), BINDING_GRACE)
        }
        "FailedBinding" => about("PGS-NO-VOLUME", "no PersistentVolume fits the claim".to_owned())
            .fix("compare size, access mode, class and claimRef: kubectl get pv")
            .fix("put missing volumes back: pgset up")
            .blocking_from(from(newest), VOLUME_GRACE),
        _ => Finding {
            severity: Severity::Waiting,
            ..about("PGS-CLAIM-PENDING", "the claim is not bound yet".to_owned())
        }
        .fix(format!("kubectl -n {namespace} describe pvc {name}")),
    })
}

/// A volume that cannot be mounted: an event on the pod, in the words of the kubelet and of `mount`.
fn mount(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let running = pod.container().and_then(|container| container.state.as_ref()).is_some_and(|s| s.running.is_some());
    let name = pod.metadata.name.as_deref()?;
    let failures = ["FailedMount", "FailedAttachVolume"];
    let newest =
        asked.seen.events_of("Pod", name).filter(|e| e.reason.as_deref().is_some_and(|r| failures.contains(&r)));
    let event = newest.last().filter(|_| !running)?;
    let message = event.message.as_deref()?;
    // The kubelet asked before the Node authorizer knew the pod (it asks again), or a reference is missing (told there).
    if message.contains("no relationship found") || message.contains("secret \"") || message.contains("configmap \"") {
        return None;
    }
    let about = |code, summary: &str| Finding::new(code, Severity::Blocking, "Pod", name, summary).evidence(message);
    let finding = if message.contains("hostPath type check failed") {
        let path =
            message.rsplit_once("check failed: ").and_then(|(_, rest)| rest.split(" is not").next()).unwrap_or("DIR");
        about("PGS-HOSTPATH-MISSING", "the host path does not exist on the node")
            .fix(format!("on the node: mkdir -p {path} && chmod 777 {path}"))
    } else {
        about("PGS-MOUNT-FAILED", "the volume cannot be mounted")
            .fix("mend what the message names; the kubelet tries again by itself")
    };
    Some(finding.blocking_from(began(event).max(asked.since), MOUNT_GRACE))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn claim(class: Value, reason: &str, message: &str) -> Vec<Finding> {
        let mut seen = seen(json!([]), json!([event("PersistentVolumeClaim", "data", reason, message)]));
        let claim =
            json!({"metadata": {"name": "data"}, "spec": {"storageClassName": class}, "status": {"phase": "Pending"}});
        seen.claims = vec![serde_json::from_value(claim).unwrap()];
        findings(&Asked { seen: &seen, since: None })
    }

    #[test]
    fn a_claim_that_cannot_bind_ends_the_wait_after_its_grace() {
        for (class, reason, message, code, grace) in [
            (
                json!("fast"),
                "ProvisioningFailed",
                "storageclass.storage.k8s.io \"fast\" not found",
                "PGS-CLASS-MISSING",
                BINDING_GRACE,
            ),
            (
                json!(null),
                "FailedBinding",
                "no persistent volumes available and no storage class is set",
                "PGS-NO-DEFAULT-CLASS",
                BINDING_GRACE,
            ),
            (
                json!(""),
                "FailedBinding",
                "no persistent volumes available for this claim",
                "PGS-NO-VOLUME",
                VOLUME_GRACE,
            ),
        ] {
            let found = claim(class, reason, message);
            assert_eq!(found[0].code, code);
            assert!(!found[0].ends_wait(noon() + grace - SignedDuration::from_millis(1)), "{code}");
            assert!(found[0].ends_wait(noon() + grace), "{code}");
        }
    }

    #[test]
    fn a_claim_that_waits_for_its_pod_or_provisioner_is_waited_for() {
        for reason in ["WaitForFirstConsumer", "ExternalProvisioning", "Provisioning"] {
            let found = claim(json!("standard"), reason, "waiting");
            assert_eq!((found[0].code, found[0].severity), ("PGS-CLAIM-PENDING", Severity::Waiting));
        }
    }

    #[test]
    fn a_missing_host_path_names_the_directory_to_make() {
        let message =
            "MountVolume.SetUp failed for volume \"pv1\" : hostPath type check failed: /srv/pg is not a directory";
        let seen = seen(json!([pod("pgset-0", json!({}))]), json!([event("Pod", "pgset-0", "FailedMount", message)]));
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!(found[0].code, "PGS-HOSTPATH-MISSING");
        assert_eq!(found[0].fix[0], "on the node: mkdir -p /srv/pg && chmod 777 /srv/pg");
    }
}
