//! Whatever the API server, a kubelet or a container says: no panic, no control character, no secret.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::observation::{Answer, Observation};
use super::super::rollout::Rollout;
use super::super::{Mask, health, phase};
use super::testing::{event, noon, pod, seen};
use super::{Finding, diagnose};

const SECRET: &str = "Geheim-Nummer-1";
const SHAPED: &str = "shaped-like-a-secret";

/// What Kubernetes may say: its own sentences cut anywhere, secrets, control characters, anything.
fn words() -> impl Strategy<Value = String> {
    let sentences = prop::sample::select(vec![
        "create Pod pgset-0 in StatefulSet pgset failed error: pods \"pgset-0\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2",
        "failed quota: q: must specify limits.cpu for: pgset",
        "violates PodSecurity \"restricted:latest\": x",
        "admission webhook \"a\" denied",
        "failed calling webhook \"a\"",
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}.",
        "Readiness probe failed: DNS does not know pgset-master",
        "Startup probe failed: pgset: \n\n",
        "secret \"pgset-passwords\" not found",
        "couldn't find key user in Secret db/s",
        "MountVolume.SetUp failed : hostPath type check failed: /x is not a directory",
        "Failed to pull image \"x\": 401 Unauthorized",
        "storageclass.storage.k8s.io \"fast\" not found",
        "Container pgset failed liveness probe, will be restarted",
        "because it is being terminated",
        "exec /bin/sh: exec format error",
        "FATAL:  password authentication failed",
        "there is no password \"user\" in the Secret",
        "x belongs to uid 0, but the pod runs as uid 9é9",
    ]);
    let cut = (sentences, any::<prop::sample::Index>(), ".{0,12}").prop_map(|(text, at, tail)| {
        let at = at.index(text.len() + 1);
        format!("{}{tail}", text.get(..at).unwrap_or(text))
    });
    prop_oneof![
        4 => cut,
        2 => any::<String>(),
        1 => Just(format!("PGPASSWORD={SHAPED} \u{1b}[31m password='{SHAPED}' {SECRET}")),
        1 => (0..3000usize).prop_map(|length| format!("{} password={SHAPED} {SECRET}", "x".repeat(length))),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![6 => "pgset-[0-3]", 1 => words()]
}

fn reason() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CrashLoopBackOff",
        "ContainerCreating",
        "CreateContainerError",
        "CreateContainerConfigError",
        "RunContainerError",
        "PodInitializing",
        "FailedCreate",
        "FailedMount",
        "FailedScheduling",
        "Unhealthy",
        "Killing",
        "Pulling",
        "Failed",
        "ProvisioningFailed",
        "FailedBinding",
        "OOMKilled",
    ]);
    prop_oneof![5 => known.prop_map(str::to_owned), 1 => words()]
}

fn moment() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (-100_000i64..100_000).prop_map(|seconds| json!((noon() + SignedDuration::from_secs(seconds)).to_string())),
        Just(json!("0001-01-01T00:00:00Z")),
        Just(json!("9999-12-30T00:00:00Z")),
    ]
}

fn terminated() -> impl Strategy<Value = Value> {
    (any::<i32>(), reason(), words(), moment()).prop_map(|(code, reason, message, at)| {
        let code = if code % 2 == 0 { 77 + code.rem_euclid(3) } else { code };
        json!({"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}})
    })
}

fn state() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        moment().prop_map(|at| json!({"running": {"startedAt": at}})),
        (reason(), words()).prop_map(|(reason, message)| json!({"waiting": {"reason": reason, "message": message}})),
        terminated(),
    ]
}

fn container() -> impl Strategy<Value = Value> {
    (state(), terminated(), any::<i32>(), any::<bool>()).prop_map(|(state, last, restarts, started)| {
        json!({"state": state, "lastState": last, "restartCount": restarts, "started": started})
    })
}

fn a_pod() -> impl Strategy<Value = Value> {
    (name(), container(), words(), moment(), prop::collection::vec(words(), 0..2), any::<[bool; 4]>()).prop_map(
        |(name, container, words, at, finalizers, [terminating, scheduled, bare, init])| {
            let mut pod = pod(&name, container.clone());
            if terminating {
                pod["metadata"]["deletionTimestamp"] = at;
                pod["metadata"]["finalizers"] = json!(finalizers);
            }
            if !scheduled {
                pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "message": words}]);
                pod["spec"]["nodeName"] = Value::Null;
            }
            if init {
                let mut status = container;
                status.as_object_mut().unwrap().extend(
                    json!({"name": words, "image": "", "imageID": "", "ready": false}).as_object().unwrap().clone(),
                );
                pod["status"]["initContainerStatuses"] = json!([status]);
            }
            if bare {
                pod["spec"] = Value::Null;
            }
            pod
        },
    )
}

fn an_event() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["Pod", "StatefulSet", "PersistentVolumeClaim"]);
    (kind, prop_oneof![2 => name(), 1 => Just("pgset".to_owned())], reason(), words(), moment()).prop_map(
        |(kind, name, reason, message, at)| {
            let mut event = event(kind, &name, &reason, &message);
            event["lastTimestamp"] = at;
            event
        },
    )
}

fn observation() -> impl Strategy<Value = Observation> {
    let pods = prop::collection::vec(a_pod(), 0..4);
    let events = prop::collection::vec(an_event(), 0..8);
    let logs = prop::collection::vec((name(), prop::collection::vec(words(), 0..5)), 0..3);
    let answers = prop::collection::vec((name(), words()), 0..3);
    let node = (words(), words(), moment()).prop_map(|(status, message, at)| {
        json!({"metadata": {"name": "node1"}, "status": {"conditions": [
            {"type": "Ready", "status": status, "message": message, "lastTransitionTime": at},
            {"type": "DiskPressure", "status": "True", "message": message}]}})
    });
    let claim = (words(), words()).prop_map(|(class, phase)| {
        json!({"metadata": {"name": "pgdata-pgset-0"}, "spec": {"storageClassName": class}, "status": {"phase": phase}})
    });
    (pods, events, logs, answers, node, claim, any::<bool>()).prop_map(
        |(pods, events, logs, answers, node, claim, set)| {
            let mut seen = seen(json!(pods), json!(events));
            seen.logs = logs.into_iter().collect();
            seen.answers = answers.into_iter().map(|(member, words)| (member, Answer::Silent(words))).collect();
            seen.nodes = vec![serde_json::from_value(node).unwrap()];
            seen.claims = vec![serde_json::from_value(claim).unwrap()];
            if !set {
                seen.stateful_set = None;
            }
            seen.at = Some(noon());
            seen.mask = Mask::of([SECRET]);
            seen
        },
    )
}

fn texts(finding: &Finding) -> Vec<String> {
    let mut texts = vec![finding.summary.clone()];
    texts.extend(finding.objects().map(ToString::to_string));
    texts.extend(finding.evidence.iter().chain(&finding.fix).cloned());
    for so in &finding.consequences {
        texts.extend([so.summary.clone(), so.object.to_string()]);
        texts.extend(so.also.iter().map(ToString::to_string));
    }
    texts
}

fn is_safe(text: &str) -> bool {
    !text.chars().any(char::is_control) && !text.contains(SECRET) && !text.contains(SHAPED)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3000 }))]

    #[test]
    fn nothing_that_is_said_makes_the_engine_panic_or_print_what_it_must_not(seen in observation(), waited in any::<bool>()) {
        for finding in diagnose(&seen, waited.then(noon)) {
            for text in texts(&finding) {
                prop_assert!(is_safe(&text), "{}: {text:?}", finding.code);
            }
        }
        let health = health::health(&seen);
        for member in seen.members() {
            let phase = phase::phase(&seen, &health, &member).to_string();
            prop_assert!(is_safe(&phase), "{phase:?}");
        }
        let mut rollout = Rollout::new(noon(), SignedDuration::from_mins(1));
        for second in [0, 1, 30, 60] {
            drop(rollout.step(&seen, noon() + SignedDuration::from_secs(second)));
        }
    }

    /// A recording cut anywhere, or with anything in the place of any of its values, is either read or refused.
    #[test]
    fn truncated_objects_are_read_or_refused(seen in observation(), at in any::<prop::sample::Index>(), junk in words()) {
        let text = serde_json::to_string(&seen).unwrap();
        let at = at.index(text.len());
        let cut = text.get(..at).unwrap_or_default();
        prop_assert!(serde_json::from_str::<Observation>(cut).is_err());
        let mut value: Value = serde_json::from_str(&text).unwrap();
        spoil(&mut value, at % 200, &junk);
        if let Ok(spoilt) = serde_json::from_value::<Observation>(value) {
            for finding in diagnose(&spoilt, None) {
                prop_assert!(texts(&finding).iter().all(|text| !text.chars().any(char::is_control)));
            }
        }
    }
}

/// Puts junk in the place of the value at this depth-first position.
fn spoil(value: &mut Value, position: usize, junk: &str) -> usize {
    if position == 0 {
        *value = match junk.len() % 4 {
            0 => Value::Null,
            1 => json!(junk.len()),
            2 => json!([]),
            _ => json!(junk),
        };
        return 0;
    }
    let mut left = position - 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let before = left;
        left = spoil(child, before, junk);
        if left == 0 {
            return 0;
        }
    }
    left
}
