//! A claim does not bind, is going, or has lost its volume.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim};
use serde_json::json;

use super::super::observation::PodReading;
use super::super::plan::foreign_owner;
use super::{Asked, Depth, Entry, Finding, Severity, began, quoted_after};
use crate::settings::Quantity;

/// Volumes are created beside their claims; the binder needs a moment to see both.
const BINDING_GRACE: SignedDuration = SignedDuration::from_secs(8);

/// The volume controller looks at an unbound claim again every 15 s. What it said before it had seen the volumes, as after
/// a restart of its own or of the API server, counts only once it had time to look twice.
const VOLUME_GRACE: SignedDuration = SignedDuration::from_secs(20);

/// A provisioner may fail while its back end is busy; it retries within this time.
const PROVISIONING_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// In a good start a claim waits for its pod's node or for its provisioner, and a volume is there within this time. Nobody
/// has said that anything is wrong, so less is not worth a word.
const BINDING_NORMAL: SignedDuration = SignedDuration::from_secs(10);

/// A claim that nobody holds is gone within a moment.
const TERMINATING_GRACE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.claims.iter().filter_map(|claim| claim_finding(asked, claim)).collect()
}

fn claim_finding(asked: &Asked<'_>, claim: &PersistentVolumeClaim) -> Option<Finding> {
    let name = claim.metadata.name.as_deref().filter(|name| asked.seen.needs_claim(name))?;
    if claim.metadata.deletion_timestamp.is_some() {
        return Some(terminating(asked, claim, name));
    }
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
    let newest = asked.seen.events_of("PersistentVolumeClaim", name).last();
    // A claim that waits for a pod which the API server refuses has nothing wrong of its own.
    let waits_for_pod = newest.is_some_and(|event| event.reason.as_deref() == Some("WaitForFirstConsumer"));
    let refused = super::is_refused(asked.seen) && !asked.seen.pods.iter().any(|pod| pod.claims().contains(&name));
    (!(waits_for_pod && refused)).then(|| pending(asked, claim, name, newest))
}

// ---- a claim that is going ------------------------------------------------------------------------------------------

/// Kubernetes deletes a claim only once no pod uses it, and with it, more often than not, the data.
fn terminating(asked: &Asked<'_>, claim: &PersistentVolumeClaim, name: &str) -> Finding {
    let seen = asked.seen;
    let namespace = &seen.namespace;
    let holders = seen.pods.iter().filter(|pod| pod.claims().contains(&name));
    let (run, wait): (Vec<_>, Vec<_>) = holders.partition(|pod| pod.is_running());
    let names = |pods: &[&k8s_openapi::api::core::v1::Pod]| {
        let names: Vec<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
        names.join(", ")
    };
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or("VOLUME");
    let about = |summary: String| {
        Finding::new("PGS-CLAIM-TERMINATING", Severity::Waiting, "PersistentVolumeClaim", name, summary).evidence(
            format!(
                "deleted at {}, held by {}",
                claim.metadata.deletion_timestamp.as_ref().map_or_else(String::new, |time| time.0.to_string()),
                claim.metadata.finalizers.clone().unwrap_or_default().join(", ")
            ),
        )
    };
    let keep = format!(
        "keep the data first: kubectl patch pv {volume} -p '{{\"spec\":{{\"persistentVolumeReclaimPolicy\":\"Retain\"}}}}'"
    );
    if run.is_empty() && wait.is_empty() {
        let since = claim.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        return about("the claim is being deleted, and no pod of the set holds it".to_owned())
            .fix(format!("who does? kubectl -n {namespace} describe pvc {name}"))
            .fix("once it is gone: pgset up")
            .blocking_from(since.max(asked.since), TERMINATING_GRACE);
    }
    if wait.is_empty() {
        let pods = names(&run);
        let finding = about(format!(
            "the claim is being deleted; only {pods} still holds it, and its data goes when that pod does"
        ));
        return Finding { severity: Severity::Warning, ..finding }
            .fix(keep)
            .fix(format!("then let it go, and make it anew: kubectl -n {namespace} delete pod {pods}, then pgset up"));
    }
    let pods = names(&wait);
    let since = claim.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    about(format!("the claim is being deleted, so {pods} cannot start with it, and it waits for {pods} to go"))
        .fix(keep)
        .fix(format!("then let it go: kubectl -n {namespace} delete pod {pods}, and once it is gone: pgset up"))
        .blocking_from(since.max(asked.since), TERMINATING_GRACE)
}

// ---- a claim that does not bind -------------------------------------------------------------------------------------

fn pending(asked: &Asked<'_>, claim: &PersistentVolumeClaim, name: &str, newest: Option<&Event>) -> Finding {
    let namespace = &asked.seen.namespace;
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let reason = newest.and_then(|event| event.reason.as_deref()).unwrap_or_default();
    let message = newest.and_then(|event| event.message.as_deref()).unwrap_or_default();
    let about = |code, summary: String| {
        Finding::new(code, Severity::Blocking, "PersistentVolumeClaim", name, summary).evidence(message)
    };
    let from = newest.and_then(began).max(asked.since);
    let classes = listed_classes(asked);
    // A claim keeps its class for good; this one has no volume, and so no data.
    let again = format!(
        "choose one ({classes}): pgset down && kubectl -n {namespace} delete pvc {name} && pgset up --storage-class …"
    );
    match reason {
        "ProvisioningFailed" if message.contains("not found") && message.contains("storageclass") => {
            let missing = quoted_after(message, "storageclass.storage.k8s.io").or(class).unwrap_or("?");
            about("PGS-CLASS-MISSING", format!("StorageClass {missing} does not exist"))
                .fix(again)
                .fix(format!("or make {missing}; the claim is bound by itself then"))
                .blocking_from(from, BINDING_GRACE)
        }
        "ProvisioningFailed" => {
            about("PGS-PROVISIONING-FAILED", "the StorageClass's provisioner cannot make a volume".to_owned())
                .fix(format!("kubectl -n {namespace} describe pvc {name}; then look at the provisioner's own log"))
                .blocking_from(from, PROVISIONING_GRACE)
        }
        "FailedBinding" | "VolumeMismatch" | "ClaimMisbound" if class.is_some() || named_volume(claim).is_some() => {
            let (finding, grace) = unbound(asked, claim, name, message);
            // A good start meets it as well: volume and claim are made at the same time.
            let normal = if grace == VOLUME_GRACE { VOLUME_GRACE } else { SignedDuration::ZERO };
            finding.blocking_from(from, grace).normal_for(from, normal)
        }
        "FailedBinding" => about("PGS-NO-DEFAULT-CLASS", "the cluster has no default StorageClass".to_owned())
            .fix(again)
            .fix("or, on a one-node cluster, the same with --storage hostpath --host-path DIR")
            .blocking_from(from, BINDING_GRACE),
        "ExternalProvisioning" if !was_taken_up(asked, name) => {
            let provisioner = quoted_in(message).unwrap_or("?");
            let summary =
                format!("provisioner {provisioner} of StorageClass {} has not said a word", class.unwrap_or("?"));
            Finding { severity: Severity::Waiting, ..about("PGS-PROVISIONER-SILENT", summary) }
                .fix(format!(
                    "does it run? kubectl get pods -A | grep -i {}",
                    provisioner.rsplit('/').next().unwrap_or(provisioner)
                ))
                .fix(format!("or {again}"))
                .normal_at_first(BINDING_NORMAL)
        }
        _ => {
            let warned = newest.is_some_and(|event| event.type_.as_deref() == Some("Warning"));
            let summary = if warned {
                format!("the claim is not bound yet: {reason}")
            } else {
                "the claim is not bound yet".to_owned()
            };
            let finding = Finding { severity: Severity::Waiting, ..about("PGS-CLAIM-PENDING", summary) }
                .fix(format!("kubectl -n {namespace} describe pvc {name}"));
            // A warning is somebody's word that this is no mere waiting.
            if warned { finding } else { finding.normal_at_first(BINDING_NORMAL) }
        }
    }
}

/// Whether the provisioner has begun with the claim.
fn was_taken_up(asked: &Asked<'_>, claim: &str) -> bool {
    let mut reasons = asked.seen.events_of("PersistentVolumeClaim", claim).filter_map(|event| event.reason.as_deref());
    reasons.any(|reason| reason.starts_with("Provisioning"))
}

/// The text in the first pair of single quotes.
fn quoted_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('\'')?;
    rest.split_once('\'').map(|(inside, _)| inside)
}

fn named_volume(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// The cluster's classes, or how to see them where they were not asked for or may not be listed.
fn listed_classes(asked: &Asked<'_>) -> String {
    match asked.seen.classes.as_deref() {
        None => "see which there are: kubectl get storageclass".to_owned(),
        Some([]) => "there is none".to_owned(),
        Some(classes) => {
            let names: Vec<&str> = classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
            format!("there is {}", names.join(", "))
        }
    }
}

/// No volume for a claim that is not provisioned for: which is the nearest, and what it lacks. Where that was looked into,
/// the volume controller need not look twice.
fn unbound(asked: &Asked<'_>, claim: &PersistentVolumeClaim, name: &str, message: &str) -> (Finding, SignedDuration) {
    let about = |code, summary: String| {
        Finding::new(code, Severity::Blocking, "PersistentVolumeClaim", name, summary).evidence(message)
    };
    let sure = |finding: Finding| (finding, BINDING_GRACE);
    let compare = "compare size, access mode, class and claimRef: kubectl get pv";
    let no_volume = "no PersistentVolume fits the claim";
    let Some(volumes) = asked.seen.volumes.as_deref() else {
        let finding = about("PGS-NO-VOLUME", no_volume.to_owned());
        return (finding.fix(compare).fix("put missing volumes back: pgset up"), VOLUME_GRACE);
    };
    let wanted = Wanted::of(&asked.seen.namespace, claim);
    if let Some(volume) = named_volume(claim) {
        let Some(found) = volumes.iter().find(|one| one.metadata.name.as_deref() == Some(volume)) else {
            let summary = format!("PersistentVolume {volume}, which the claim names, does not exist");
            return sure(about("PGS-NO-VOLUME", summary).fix("put missing volumes back: pgset up"));
        };
        if let Some(other) = wanted.taken(found) {
            let summary = format!("PersistentVolume {volume}, which the claim names, is claimed by {other}");
            let finding = about("PGS-VOLUME-TAKEN", summary)
                .fix(format!("is that claim still needed? kubectl -n {}", other.replace('/', " get pvc ")));
            let own = "otherwise give this set volumes of its own: another name (--name), or another namespace (-n)";
            return sure(finding.fix(own));
        }
    }
    let ours = volumes.iter().find(|volume| wanted.is_reserved(volume));
    if let Some(volume) = ours.filter(|volume| wanted.was_another(volume)) {
        let volume_name = volume.metadata.name.as_deref().unwrap_or("?");
        let summary = format!(
            "PersistentVolume {volume_name} is Released: it was bound to an earlier claim of the same name, and is not given to a new one by itself"
        );
        let finding = about("PGS-VOLUME-RELEASED", summary);
        let patch = format!(
            "kubectl patch pv {volume_name} --type=json -p '[{{\"op\":\"remove\",\"path\":\"/spec/claimRef/uid\"}},{{\"op\":\"remove\",\"path\":\"/spec/claimRef/resourceVersion\"}}]'"
        );
        // A class's volume is nothing that `up` brings.
        let is_ours = foreign_owner(&asked.seen.name, &json!(volume)).is_none();
        return sure(if is_ours {
            let again = "its data is kept; take it back, which asks first: pgset up";
            finding.fix(again).fix(format!("or by hand: {patch}"))
        } else {
            finding.fix(format!("its data is kept; let the new claim have it: {patch}"))
        });
    }
    let lacks = |volume: &&PersistentVolume| wanted.lacks(volume);
    let nearest = ours.or_else(|| volumes.iter().min_by_key(|volume| lacks(volume).len()));
    let Some(nearest) = nearest else {
        let finding = about("PGS-NO-VOLUME", format!("{no_volume}: there is none"));
        return sure(finding.fix("put missing volumes back: pgset up"));
    };
    let nearest_name = nearest.metadata.name.as_deref().unwrap_or("?");
    let why = lacks(&nearest).join("; ");
    let (summary, grace) = if why.is_empty() {
        (format!("the claim is not bound yet, although PersistentVolume {nearest_name} seems to fit"), VOLUME_GRACE)
    } else {
        (format!("{no_volume}; the nearest, {nearest_name}: {why}"), BINDING_GRACE)
    };
    (about("PGS-NO-VOLUME", summary).fix(compare).fix("put missing volumes back: pgset up"), grace)
}

/// What a claim asks of a volume.
struct Wanted<'a> {
    claim: String,
    uid: Option<&'a str>,
    class: &'a str,
    size: Option<Quantity>,
    modes: BTreeSet<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(namespace: &str, claim: &'a PersistentVolumeClaim) -> Self {
        let spec = claim.spec.as_ref();
        let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        let modes = spec.and_then(|spec| spec.access_modes.as_ref()).into_iter().flatten();
        Self {
            claim: format!("{namespace}/{}", claim.metadata.name.as_deref().unwrap_or_default()),
            uid: claim.metadata.uid.as_deref(),
            class: spec.and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default(),
            size: requests.and_then(|requests| requests.get("storage")?.0.parse().ok()),
            modes: modes.map(String::as_str).collect(),
        }
    }

    /// The claim that has the volume, as `namespace/name`.
    fn holder(volume: &PersistentVolume) -> Option<String> {
        let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
        Some(format!("{}/{}", reference.namespace.as_deref()?, reference.name.as_deref()?))
    }

    fn is_reserved(&self, volume: &PersistentVolume) -> bool {
        Self::holder(volume).as_deref() == Some(&self.claim)
    }

    /// Reserved for a claim of this one's name that is not this one.
    fn was_another(&self, volume: &PersistentVolume) -> bool {
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let uid = reference.and_then(|reference| reference.uid.as_deref()).filter(|uid| !uid.is_empty());
        uid.is_some() && uid != self.uid
    }

    fn taken(&self, volume: &PersistentVolume) -> Option<String> {
        Self::holder(volume).filter(|holder| *holder != self.claim)
    }

    fn lacks(&self, volume: &PersistentVolume) -> Vec<String> {
        let spec = volume.spec.as_ref();
        let mut lacks = Vec::new();
        let class = spec.and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default();
        let or_none = |class: &str| if class.is_empty() { "none".to_owned() } else { class.to_owned() };
        if class != self.class {
            lacks.push(format!("its class is {}, the claim asks for {}", or_none(class), or_none(self.class)));
        }
        let capacity = spec.and_then(|spec| spec.capacity.as_ref()?.get("storage")?.0.parse::<Quantity>().ok());
        if let Some((has, asks)) = capacity.zip(self.size.as_ref())
            && has.bytes() < asks.bytes()
        {
            lacks.push(format!("it has {has}, the claim asks for {asks}"));
        }
        let modes = spec.and_then(|spec| spec.access_modes.as_ref()).into_iter().flatten();
        let modes: BTreeSet<&str> = modes.map(String::as_str).collect();
        if !self.modes.is_subset(&modes) {
            let words = |modes: &BTreeSet<&str>| modes.iter().copied().collect::<Vec<_>>().join(", ");
            lacks.push(format!("it allows {}, the claim asks for {}", words(&modes), words(&self.modes)));
        }
        if let Some(other) = self.taken(volume) {
            lacks.push(format!("it is claimed by {other}"));
        }
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if let Some(phase @ ("Released" | "Failed")) = phase {
            lacks.push(format!("it is {phase}"));
        }
        if volume.metadata.deletion_timestamp.is_some() {
            lacks.push("it is being deleted".to_owned());
        }
        lacks
    }
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-CLAIM-LOST",
        severity: Severity::Fatal,
        depth: Depth::Member,
        title: "the claim's volume is gone",
        meaning: "A claim was bound to a PersistentVolume that has been deleted.",
        known_by: "The claim's phase is Lost.",
        fix: "Restore the PersistentVolume from its manifest; the data may still be behind it.",
        doubt: "None known: Kubernetes does not take this back.",
    },
    Entry {
        code: "PGS-CLASS-MISSING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the StorageClass does not exist",
        meaning: "The claims ask for a StorageClass that the cluster does not have.",
        known_by: "A ProvisioningFailed event on the claim names the class.",
        fix: "Choose one that exists: kubectl get storageclass.",
        doubt: "Somebody may be creating the class at this moment.",
    },
    Entry {
        code: "PGS-PROVISIONING-FAILED",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the provisioner cannot make a volume",
        meaning: "The StorageClass's provisioner was asked for a volume and failed.",
        known_by: "A ProvisioningFailed event on the claim has the provisioner's words.",
        fix: "Mend what it says; the provisioner's own log has more.",
        doubt: "It tries again by itself and may succeed when its back end is less busy.",
    },
    Entry {
        code: "PGS-NO-DEFAULT-CLASS",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "there is no default StorageClass",
        meaning: "The claims name no class, and the cluster has no default one.",
        known_by: "A FailedBinding event on a claim without a class.",
        fix: "Choose one with --storage-class, or use --storage hostpath on a one-node cluster.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-NO-VOLUME",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "no PersistentVolume fits",
        meaning: "No PersistentVolume has the size, access mode and class that a claim asks for and is free.",
        known_by: "A FailedBinding event on a claim without dynamic provisioning.",
        fix: "Compare with kubectl get pv; pgset up puts the set's own volumes back.",
        doubt: "The volume controller looks every 15 s, so a volume made just now counts a little later.",
    },
    Entry {
        code: "PGS-CLAIM-PENDING",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "the claim is not bound yet",
        meaning: "A claim waits for its volume.",
        known_by: "The claim's phase is Pending and no event says that it failed.",
        fix: "See what it waits for: kubectl describe pvc.",
        doubt: "Some provisioners take minutes, so this never ends a wait.",
    },
    Entry {
        code: "PGS-VOLUME-RELEASED",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the volume was bound to an earlier claim",
        meaning: "A PersistentVolume of the set is kept for a claim of the same name that was deleted; Kubernetes never gives it to a new one by itself.",
        known_by: "The volume's claimRef has another uid than the claim.",
        fix: "pgset up takes it back, after asking, where it is the set's own; else take that uid away with the patch that the finding gives. The data is kept.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-VOLUME-TAKEN",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "another claim has the volume",
        meaning: "The PersistentVolume that the claim names is bound to a claim of somebody else.",
        known_by: "The volume's claimRef names another claim.",
        fix: "Give this set volumes of its own, or remove the other claim if nobody needs it.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-CLAIM-TERMINATING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "a claim is being deleted",
        meaning: "Somebody deleted a claim; Kubernetes waits until no pod uses it, and its data may go with it.",
        known_by: "The claim has a deletion timestamp and a finalizer; the set's pods that mount it are named.",
        fix: "Set the volume's reclaim policy to Retain first, then let the pod go and run pgset up.",
        doubt: "While its pod runs the set is healthy, and this is a warning only.",
    },
    Entry {
        code: "PGS-PROVISIONER-SILENT",
        severity: Severity::Waiting,
        depth: Depth::Set,
        title: "the provisioner has not said a word",
        meaning: "The StorageClass's provisioner was asked for a volume, and nothing shows that it has begun.",
        known_by: "The claim's newest event is ExternalProvisioning, and there is none of the provisioner's own.",
        fix: "See whether the provisioner's pods run, or choose another class.",
        doubt: "Some provisioners write no events, so this never ends a wait.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::observation::Observation;
    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn observed(class: Value, reason: &str, message: &str) -> Observation {
        let mut seen = seen(json!([]), json!([event("PersistentVolumeClaim", "data", reason, message)]));
        let claim = json!({"metadata": {"name": "data", "uid": "new"}, "status": {"phase": "Pending"},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}});
        seen.claims = vec![serde_json::from_value(claim).unwrap()];
        seen
    }

    fn claim(class: Value, reason: &str, message: &str) -> Vec<Finding> {
        findings(&Asked { seen: &observed(class, reason, message), since: None })
    }

    const NO_VOLUMES: &str = "no persistent volumes available for this claim and no storage class is set";

    /// What is found when there are these volumes.
    fn among(volumes: Value) -> Finding {
        let mut seen = observed(json!(""), "FailedBinding", NO_VOLUMES);
        seen.volumes = Some(serde_json::from_value(volumes).unwrap());
        findings(&Asked { seen: &seen, since: None }).remove(0)
    }

    fn ends_after(found: &Finding, grace: SignedDuration) {
        assert!(!found.ends_wait(noon() + grace - SignedDuration::from_millis(1)), "{found:?}");
        assert!(found.ends_wait(noon() + grace), "{found:?}");
    }

    fn volume(name: &str, size: &str, mode: &str, claim_ref: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": size}, "accessModes": [mode], "claimRef": claim_ref}})
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
            (json!("fast"), "ProvisioningFailed", "back end busy", "PGS-PROVISIONING-FAILED", PROVISIONING_GRACE),
            (json!(null), "FailedBinding", NO_VOLUMES, "PGS-NO-DEFAULT-CLASS", BINDING_GRACE),
            (json!(""), "FailedBinding", NO_VOLUMES, "PGS-NO-VOLUME", VOLUME_GRACE),
        ] {
            let found = claim(class, reason, message);
            assert_eq!(found[0].code, code);
            assert!(!found[0].ends_wait(noon() + grace - SignedDuration::from_millis(1)), "{code}");
            assert!(found[0].ends_wait(noon() + grace), "{code}");
        }
    }

    #[test]
    fn a_claim_that_a_scale_down_left_behind_is_nobodys() {
        let mut seen = observed(json!(""), "FailedBinding", NO_VOLUMES);
        for (name, count) in [("pgdata-pgset-1", 1), ("pgdata-pgset-2", 0), ("pgset-pvc", 1), ("pgdata-pgset-x", 1)] {
            seen.claims[0].metadata.name = Some(name.to_owned());
            assert_eq!(findings(&Asked { seen: &seen, since: None }).len(), count, "{name}");
        }
        let mut leaving = pod("pgset-2", json!({}));
        leaving["spec"]["volumes"] =
            json!([{"name": "pgdata", "persistentVolumeClaim": {"claimName": "pgdata-pgset-2"}}]);
        seen.pods = vec![serde_json::from_value(leaving).unwrap()];
        seen.claims[0].metadata.name = Some("pgdata-pgset-2".to_owned());
        assert_eq!(findings(&Asked { seen: &seen, since: None }).len(), 1);
    }

    #[test]
    fn the_nearest_volume_is_named_with_what_it_lacks() {
        for (volumes, words) in [
            (json!([]), "no PersistentVolume fits the claim: there is none"),
            (
                json!([volume("small", "1Mi", "ReadWriteMany", json!(null))]),
                "the nearest, small: it has 1Mi, the claim asks for 1Gi",
            ),
            (
                json!([volume("one", "1Gi", "ReadWriteOnce", json!(null))]),
                "the nearest, one: it allows ReadWriteOnce, the claim asks for ReadWriteMany",
            ),
            (
                json!([
                    volume("far", "1Mi", "ReadWriteOnce", json!(null)),
                    volume("near", "2Gi", "ReadWriteMany", json!({"namespace": "other", "name": "data"}))
                ]),
                "the nearest, near: it is claimed by other/data",
            ),
        ] {
            let found = among(volumes);
            assert_eq!(found.code, "PGS-NO-VOLUME");
            assert!(found.summary.contains(words), "{}", found.summary);
            ends_after(&found, BINDING_GRACE);
        }
        let mut classed = volume("classed", "1Gi", "ReadWriteMany", json!(null));
        classed["spec"]["storageClassName"] = json!("fast");
        assert!(among(json!([classed])).summary.contains("its class is fast, the claim asks for none"));
    }

    #[test]
    fn a_released_volume_is_told_with_the_patch_that_frees_it() {
        let earlier = json!({"namespace": "default", "name": "data", "uid": "old"});
        let found = among(json!([volume("pv1", "1Gi", "ReadWriteMany", earlier)]));
        assert_eq!(found.code, "PGS-VOLUME-RELEASED");
        assert!(
            found.fix[0].contains("kubectl patch pv pv1 --type=json") && found.fix[0].contains("/spec/claimRef/uid")
        );
        ends_after(&found, BINDING_GRACE);
        let mut ours =
            volume("pv1", "1Gi", "ReadWriteMany", json!({"namespace": "default", "name": "data", "uid": "old"}));
        ours["metadata"]["labels"] =
            json!({"app.kubernetes.io/managed-by": "pgset", "app.kubernetes.io/instance": "pgset"});
        let found = among(json!([ours]));
        assert!(found.fix[0].ends_with("pgset up") && found.fix[1].contains("kubectl patch pv pv1"), "{:?}", found.fix);
        // One that seems to fit is one that the volume controller has not seen yet.
        let reserved = json!({"namespace": "default", "name": "data"});
        let fits = among(json!([volume("pv1", "1Gi", "ReadWriteMany", reserved)]));
        assert_eq!(fits.code, "PGS-NO-VOLUME");
        ends_after(&fits, VOLUME_GRACE);
        assert_eq!(fits.normal_until, Some(noon() + VOLUME_GRACE));
    }

    #[test]
    fn a_volume_that_another_claim_has_is_told_with_that_claim() {
        let mut seen = observed(json!(""), "FailedBinding", "volume \"pv1\" already bound to a different claim.");
        seen.claims[0].spec.as_mut().unwrap().volume_name = Some("pv1".to_owned());
        let taken =
            json!([volume("pv1", "1Gi", "ReadWriteMany", json!({"namespace": "other", "name": "theirs", "uid": "x"}))]);
        seen.volumes = Some(serde_json::from_value(taken).unwrap());
        let found = findings(&Asked { seen: &seen, since: None }).remove(0);
        assert_eq!(found.code, "PGS-VOLUME-TAKEN");
        assert!(found.summary.contains("pv1") && found.summary.contains("other/theirs"), "{}", found.summary);
        assert!(found.fix[0].contains("kubectl -n other get pvc theirs"), "{:?}", found.fix);
        seen.volumes = Some(Vec::new());
        let found = findings(&Asked { seen: &seen, since: None }).remove(0);
        assert!(found.summary.contains("pv1, which the claim names, does not exist"));
    }

    #[test]
    fn a_claim_that_waits_for_its_pod_or_provisioner_is_waited_for() {
        for reason in ["WaitForFirstConsumer", "Provisioning"] {
            let found = claim(json!("standard"), reason, "waiting");
            assert_eq!((found[0].code, found[0].severity), ("PGS-CLAIM-PENDING", Severity::Waiting));
        }
        let silent = "Waiting for a volume to be created either by the external provisioner 'example.com/silent' or manually by the system administrator.";
        let found = claim(json!("slow"), "ExternalProvisioning", silent);
        assert_eq!((found[0].code, found[0].severity), ("PGS-PROVISIONER-SILENT", Severity::Waiting));
        assert!(found[0].summary.contains("provisioner example.com/silent of StorageClass slow"));
        assert!(found[0].fix[0].contains("grep -i silent"));
    }

    #[test]
    fn a_claim_that_waits_for_a_pod_which_is_refused_is_no_finding_of_its_own() {
        let refused = event("StatefulSet", "pgset", "FailedCreate", "create Pod pgset-1 in StatefulSet pgset failed");
        let waits =
            event("PersistentVolumeClaim", "pgdata-pgset-1", "WaitForFirstConsumer", "waiting for first consumer");
        let claim = json!({"metadata": {"name": "pgdata-pgset-1"}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}});
        let judged = |events: Value| {
            let mut seen = seen(json!([pod("pgset-0", json!({}))]), events);
            seen.claims = vec![serde_json::from_value(claim.clone()).unwrap()];
            findings(&Asked { seen: &seen, since: None })
        };
        assert!(judged(json!([refused, waits])).is_empty());
        assert_eq!(judged(json!([waits]))[0].code, "PGS-CLAIM-PENDING", "nobody has said why the pod is not there");
        let provisions = event("PersistentVolumeClaim", "pgdata-pgset-1", "Provisioning", "x");
        assert_eq!(judged(json!([refused, provisions])).len(), 1);
    }

    #[test]
    fn a_claim_on_its_way_out_names_the_pod_that_holds_it() {
        let going = |pods: Value| {
            let mut seen = seen(pods, json!([]));
            let claim = json!({"metadata": {"name": "data", "deletionTimestamp": noon().to_string(), "finalizers": ["kubernetes.io/pvc-protection"]},
                "spec": {"volumeName": "pv1"}, "status": {"phase": "Bound"}});
            seen.claims = vec![serde_json::from_value(claim).unwrap()];
            findings(&Asked { seen: &seen, since: None }).remove(0)
        };
        let holder = |state: Value| {
            let mut holder = pod("pgset-0", json!({"state": state}));
            holder["spec"]["volumes"] = json!([{"name": "pgdata", "persistentVolumeClaim": {"claimName": "data"}}]);
            json!([holder])
        };
        let runs = going(holder(json!({"running": {}})));
        assert_eq!((runs.code, runs.severity), ("PGS-CLAIM-TERMINATING", Severity::Warning));
        assert!(runs.summary.contains("only pgset-0 still holds it"));
        assert!(runs.fix[0].contains("kubectl patch pv pv1") && runs.fix[0].contains("Retain"));
        for stuck in [going(holder(json!({"waiting": {"reason": "ContainerCreating"}}))), going(json!([]))] {
            assert!(!stuck.ends_wait(noon() + TERMINATING_GRACE - SignedDuration::from_millis(1)), "{stuck:?}");
            assert!(stuck.ends_wait(noon() + TERMINATING_GRACE));
        }
    }
}
