//! A pod refers to a Secret, a ConfigMap or a key in one that is not there.
//!
//! Said by the kubelet (a mount, an environment variable), or by what runs in the container and misses a file of the scripts'
//! ConfigMap, which is mounted whole. All of that stays as it was said after the key is back, so what is there now counts.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Event, KeyToPath, Pod, Volume};

use super::super::Observation;
use super::super::observation::{CONTAINER, PodReading};
use super::super::phase::probe_says;
use super::{Asked, Depth, Entry, Finding, Severity, began, clean, quoted_after};

/// The kubelet's own view of Secrets and ConfigMaps may lag behind the API server's for a moment.
const GRACE: SignedDuration = SignedDuration::from_secs(5);

/// A probe that misses its script fails every second or so; what one misses that runs while a volume is brought up to date is
/// there the next time.
const PROBE_NORMAL: SignedDuration = SignedDuration::from_secs(2);

/// A container's last words are in its last lines.
const LAST: usize = 5;

/// What a pod refers to and does not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lacking {
    /// `ConfigMap` or `Secret`.
    pub kind: &'static str,
    pub object: String,
    /// What of it; `None` when all of it.
    pub key: Option<String>,
}

impl Lacking {
    /// A key of the Secret with the set's passwords, when these are the start script's words about it.
    pub(super) fn password(seen: &Observation, words: &str) -> Option<Self> {
        let key = quoted_after(words.strip_prefix("there is no password")?, " ")?;
        Some(Self { kind: "Secret", object: passwords(seen), key: Some(clean(key)) })
    }

    /// Whether it is there by now, as far as somebody has looked.
    pub(super) fn is_there(&self, seen: &Observation) -> bool {
        let keys = seen.keys.get(&format!("{} {}", self.kind, self.object));
        keys.and_then(Option::as_ref).is_some_and(|keys| self.key.as_ref().is_none_or(|key| keys.contains(key)))
    }
}

fn passwords(seen: &Observation) -> String {
    format!("{}-passwords", seen.name)
}

/// Whether somebody has looked, and what the dead container missed is missing still: the next try is in vain as well.
pub(super) fn lacks_still(seen: &Observation, dead: &Pod) -> bool {
    let missed = last_words(seen, dead).or_else(|| password(seen, dead));
    missed.is_some_and(|missed| {
        seen.keys.contains_key(&format!("{} {}", missed.kind, missed.object)) && !missed.is_there(seen)
    })
}

/// Everything that members are said to miss, whether it is there by now or not.
fn lacking(seen: &Observation) -> Vec<Lacking> {
    let of_pod = |pod| {
        let mount = mount(seen, pod).map(|(lacking, _)| lacking);
        let configured = configured(pod).and_then(named);
        let probe = probe(seen, pod).map(|(lacking, _)| lacking);
        [mount, configured, last_words(seen, pod), probe, password(seen, pod)]
    };
    seen.pods.iter().flat_map(of_pod).flatten().collect()
}

/// The ConfigMaps and Secrets of that, by kind and name: whether they have it by now is worth a look.
#[must_use]
pub fn lacking_objects(seen: &Observation) -> BTreeSet<(&'static str, String)> {
    lacking(seen).into_iter().map(|lacking| (lacking.kind, lacking.object)).collect()
}

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    let of_pod = |pod| of_mount(asked, pod).or_else(|| of_config(asked, pod)).or_else(|| of_probe(asked, pod));
    asked.seen.pods.iter().filter_map(of_pod).collect()
}

fn of_mount(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let (lacking, event) = mount(asked.seen, pod)?;
    let finding = finding(asked.seen, pod, &lacking).evidence(event.message.as_deref()?);
    let waits = lacking.is_there(asked.seen);
    Some(if waits { finding } else { finding.blocking_from(began(event).max(asked.since), GRACE) })
}

fn of_config(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let message = configured(pod)?;
    if let Some(lacking) = named(message) {
        return Some(finding(asked.seen, pod, &lacking).evidence(message));
    }
    let (name, summary) = (pod.metadata.name.as_deref()?, "the container's configuration is not valid");
    let finding = Finding::new("PGS-CONTAINER-CONFIG", Severity::Fatal, "Pod", name, summary)
        .fix("mend what the message names, then: pgset up");
    Some(finding.evidence(message))
}

fn of_probe(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let (lacking, words) = probe(asked.seen, pod)?;
    let finding = finding(asked.seen, pod, &lacking).evidence(words);
    let waits = lacking.is_there(asked.seen);
    Some(if waits { finding.normal_at_first(PROBE_NORMAL) } else { finding.lasting(PROBE_NORMAL, GRACE) })
}

/// A volume's Secret or ConfigMap is missing: an event, while the container is still being created.
fn mount<'a>(seen: &'a Observation, pod: &'a Pod) -> Option<(Lacking, &'a Event)> {
    let name = pod.metadata.name.as_deref().filter(|_| !pod.is_running())?;
    let failed = seen.events_of("Pod", name).filter(|event| event.reason.as_deref() == Some("FailedMount"));
    let missing = failed.filter_map(|event| Some((unmounted(pod, event.message.as_deref()?)?, event)));
    missing.last()
}

/// What the kubelet misses that it should mount.
pub(super) fn unmounted(pod: &Pod, message: &str) -> Option<Lacking> {
    named(message).or_else(|| in_volume(pod, message))
}

/// An environment variable's Secret, ConfigMap or key is missing: the container's own waiting reason.
fn configured(pod: &Pod) -> Option<&str> {
    let waiting = pod.container()?.state.as_ref()?.waiting.as_ref()?;
    let is_config = waiting.reason.as_deref() == Some("CreateContainerConfigError");
    is_config.then(|| waiting.message.as_deref().unwrap_or_default())
}

/// What a dead container's last words miss.
fn last_words(seen: &Observation, pod: &Pod) -> Option<Lacking> {
    let lines = seen.logs.get(pod.metadata.name.as_ref()?).filter(|_| !pod.is_running())?;
    unread(pod, lines).map(|(lacking, _)| lacking)
}

/// The start script ended for want of a password in the set's Secret.
fn password(seen: &Observation, pod: &Pod) -> Option<Lacking> {
    let container = pod.container().filter(|_| !pod.is_running())?;
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let ended = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
    Lacking::password(seen, ended.message.as_deref()?)
}

/// The script of a probe, or what it needs, is missing.
fn probe(seen: &Observation, pod: &Pod) -> Option<(Lacking, String)> {
    let words = probe_says(seen, pod.metadata.name.as_deref()?).filter(|_| !pod.is_ready())?;
    unread(pod, std::slice::from_ref(&words))
}

/// What of it is missing, and what to do; where it is back, what is waited for.
pub(super) fn finding(seen: &Observation, pod: &Pod, lacking: &Lacking) -> Finding {
    let (namespace, Lacking { kind, object, key }) = (&seen.namespace, lacking);
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    let code = if *kind == "Secret" { "PGS-SECRET-MISSING" } else { "PGS-CONFIGMAP-MISSING" };
    if lacking.is_there(seen) {
        let what = key.as_ref().map_or_else(String::new, |key| format!(", with its key {key}"));
        let summary = format!("{kind} {object} is there again{what}; the kubelet has not tried {pod} with it yet");
        return Finding::new(code, Severity::Waiting, kind, object, summary)
            .fix("it tries again by itself, after ever longer pauses of up to 5 minutes: pgset wait")
            .fix(format!("or at once: kubectl -n {namespace} delete pod {pod}"));
    }
    let summary = match key {
        Some(key) => format!("{kind} {object} in namespace {namespace} has no key {key}, which {pod} needs"),
        None => format!("{kind} {object} does not exist in namespace {namespace}, and {pod} needs it"),
    };
    let finding = Finding::new(code, Severity::Fatal, kind, object, summary);
    match key {
        Some(_) if *object == passwords(seen) => finding.fix(put_back(seen)),
        None if *object == passwords(seen) => {
            finding.fix("if the set holds no data yet, make a new one: pgset up").fix(format!(
                "else put back the old one, the database knows only its passwords: kubectl -n {namespace} apply -f …"
            ))
        }
        _ if object.starts_with(&format!("{}-", seen.name)) => finding.fix("put it back: pgset up"),
        Some(_) => finding.fix(format!("put it back: kubectl -n {namespace} edit {} {object}", kind.to_lowercase())),
        None => finding.fix(format!("put it back: kubectl -n {namespace} apply -f …")),
    }
}

/// How a password gets back into the Secret.
pub(super) fn put_back(seen: &Observation) -> String {
    format!("put back what the database knows: kubectl -n {} edit secret {}", seen.namespace, passwords(seen))
}

/// What a message of the kubelet's names as missing.
fn named(message: &str) -> Option<Lacking> {
    let object = |name: &str| clean(name.rsplit('/').next().unwrap_or(name));
    for kind in ["Secret", "ConfigMap"] {
        // "couldn't find key user in Secret default/pgset-passwords"
        let key =
            message.split_once("couldn't find key ").and_then(|(_, rest)| rest.split_once(&format!(" in {kind} ")));
        if let Some((key, rest)) = key {
            let name = object(rest.split_whitespace().next()?);
            return Some(Lacking { kind, object: name, key: Some(clean(key)) });
        }
        // "configmap \"pgset-config\" not found"
        let quoted = quoted_after(message, &format!("{} ", kind.to_lowercase()));
        if let Some(name) = quoted.filter(|_| message.contains("not found")) {
            return Some(Lacking { kind, object: object(name), key: None });
        }
    }
    None
}

/// "MountVolume.SetUp failed for volume \"user\" : references non-existent config key: user": whose key it is only the volume
/// says.
fn in_volume(pod: &Pod, message: &str) -> Option<Lacking> {
    let (kind, rest) = [("ConfigMap", "config"), ("Secret", "secret")].into_iter().find_map(|(kind, word)| {
        Some((kind, message.split_once(&format!("references non-existent {word} key: "))?.1))
    })?;
    let key = rest.split([',', ']']).next().unwrap_or(rest).trim();
    let volume = quoted_after(message, "for volume ")?;
    let volume = volumes(pod).iter().find(|one| one.name == volume)?;
    let (_, object, _) = parts(volume)
        .into_iter()
        .find(|(of, _, items)| *of == kind && items.is_some_and(|items| items.iter().any(|item| item.key == key)))?;
    Some(Lacking { kind, object: clean(object), key: Some(clean(key)) })
}

/// The file of a mounted ConfigMap or Secret that these lines miss, and the line that says so.
pub(super) fn unread(pod: &Pod, lines: &[String]) -> Option<(Lacking, String)> {
    let mut newest = lines.iter().rev().take(LAST).filter(|line| {
        let word = |words: &[&str]| words.iter().any(|words| line.contains(words));
        word(&["No such file", "not found"]) || word(&["an't open ", "cannot open "]) && !word(&["ermission denied"])
    });
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == CONTAINER)?;
    newest.find_map(|line| Some((missed(pod, container, line)?, line.clone())))
}

fn missed(pod: &Pod, container: &Container, line: &str) -> Option<Lacking> {
    container.volume_mounts.iter().flatten().find_map(|mount| {
        // The last one: "/pgset/config/start.sh: 25: .: cannot open /pgset/config/lib.sh: No such file".
        let (_, rest) = line.rsplit_once(&format!("{}/", mount.mount_path))?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(rest.len());
        let file = rest[..end].trim_end_matches('.');
        let volume = volumes(pod).iter().find(|one| one.name == mount.name).filter(|_| !file.is_empty())?;
        parts(volume).into_iter().find_map(|(kind, object, items)| {
            let key = match items {
                Some(items) => items.iter().find(|item| item.path == file)?.key.as_str(),
                None => file,
            };
            Some(Lacking { kind, object: object.to_owned(), key: Some(key.to_owned()) })
        })
    })
}

fn volumes(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

/// The ConfigMaps and Secrets that a volume is made of, each with its items where it does not have all keys. Those that may be
/// missing are left out.
fn parts(volume: &Volume) -> Vec<(&'static str, &str, Option<&[KeyToPath]>)> {
    let needed = |optional: Option<bool>| optional != Some(true);
    let config = volume.config_map.iter().filter(|one| needed(one.optional));
    let config = config.map(|one| ("ConfigMap", one.name.as_str(), one.items.as_deref()));
    let secret = volume.secret.iter().filter(|one| needed(one.optional));
    let secret = secret.filter_map(|one| Some(("Secret", one.secret_name.as_deref()?, one.items.as_deref())));
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = sources.flat_map(|source| {
        let config = source.config_map.iter().filter(|one| needed(one.optional));
        let config = config.map(|one| ("ConfigMap", one.name.as_str(), one.items.as_deref()));
        let secret = source.secret.iter().filter(|one| needed(one.optional));
        config.chain(secret.map(|one| ("Secret", one.name.as_str(), one.items.as_deref())))
    });
    config.chain(secret).chain(projected).collect()
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-SECRET-MISSING",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "a Secret or a key in it is missing",
        meaning: "The members need a Secret, or a key in one, that is not there.",
        known_by: "A FailedMount event, the container's waiting reason, or the start script's last words; and the Secret itself, whether it is there by now.",
        fix: "Put it back. The database knows only its own passwords, so a set with data needs the old ones.",
        doubt: "The kubelet's view of Secrets may lag for a moment, which is why a mount gets a few seconds.",
    },
    Entry {
        code: "PGS-CONFIGMAP-MISSING",
        severity: Severity::Fatal,
        depth: Depth::Set,
        title: "a ConfigMap or a key in it is missing",
        meaning: "The members need a ConfigMap, or a key in one, that is not there: their scripts and PostgreSQL's settings.",
        known_by: "A FailedMount event, the container's waiting reason, or the file that its last words or a probe miss; and the ConfigMap itself, whether it is there by now.",
        fix: "Run pgset up again: it puts the ConfigMap and its keys back, and waits for the kubelet's next try.",
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
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::diagnose;
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

    /// A member of the set whose scripts and passwords are mounted as the templates have it.
    fn mounting(container: serde_json::Value) -> serde_json::Value {
        let mut pod = pod("pgset-0", container);
        let mounts =
            json!([{"name": "config", "mountPath": "/pgset/config"}, {"name": "state", "mountPath": "/pgset/state"}]);
        pod["spec"]["containers"][0]["volumeMounts"] = mounts;
        let user = json!([{"configMap": {"name": "pgset-config", "items": [{"key": "user.name", "path": "username"}]}},
            {"secret": {"name": "pgset-passwords", "items": [{"key": "user", "path": "password"}]}}]);
        pod["spec"]["volumes"] = json!([
            {"name": "config", "configMap": {"name": "pgset-config"}},
            {"name": "state", "configMap": {"name": "pgset-state", "optional": true}},
            {"name": "user", "projected": {"sources": user}},
        ]);
        pod
    }

    fn with_keys(mut seen: Observation, object: &str, keys: &[&str]) -> Observation {
        seen.keys.insert(object.to_owned(), Some(keys.iter().map(ToString::to_string).collect()));
        seen
    }

    #[test]
    fn a_key_that_a_projected_volume_lacks_is_named_with_its_object_and_waited_for_once_it_is_back() {
        for (word, key, code, object, fix) in [
            ("config", "user.name", "PGS-CONFIGMAP-MISSING", "ConfigMap pgset-config", "put it back: pgset up"),
            (
                "secret",
                "user",
                "PGS-SECRET-MISSING",
                "Secret pgset-passwords",
                "put back what the database knows: kubectl -n default edit secret pgset-passwords",
            ),
        ] {
            let message =
                format!("MountVolume.SetUp failed for volume \"user\" : references non-existent {word} key: {key}");
            let creating = mounting(json!({"state": {"waiting": {"reason": "ContainerCreating"}}}));
            let seen = seen(json!([creating]), json!([event("Pod", "pgset-0", "FailedMount", &message)]));
            let lacks = &findings(&Asked { seen: &seen, since: None })[0];
            assert_eq!((lacks.code, lacks.object.to_string().as_str()), (code, object));
            assert_eq!(lacks.summary, format!("{object} in namespace default has no key {key}, which pgset-0 needs"));
            assert_eq!(lacks.fix, [fix]);
            assert!(!lacks.ends_wait(noon()) && lacks.ends_wait(noon() + GRACE));
            // The object is there, and lacks it still.
            let looked_at = with_keys(seen.clone(), object, &["another"]);
            assert!(findings(&Asked { seen: &looked_at, since: None })[0].ends_wait(noon() + GRACE));
            let mended = with_keys(seen, object, &["another", key]);
            let waits = &findings(&Asked { seen: &mended, since: Some(noon()) })[0];
            assert_eq!((waits.code, waits.severity, waits.ends_wait(Timestamp::MAX)), (code, Severity::Waiting, false));
            assert!(
                waits.summary.contains("is there again") && waits.fix[1].ends_with("delete pod pgset-0"),
                "{waits:?}"
            );
        }
    }

    #[test]
    fn an_environment_variables_key_that_is_back_is_waited_for() {
        let message = "couldn't find key user in Secret default/pgset-passwords";
        let waiting = json!({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": message}}});
        let seen = with_keys(seen(json!([pod("pgset-0", waiting)]), json!([])), "Secret pgset-passwords", &["user"]);
        assert_eq!(findings(&Asked { seen: &seen, since: None })[0].severity, Severity::Waiting);
    }

    fn died(line: &str) -> Observation {
        let died = json!({"terminated": {"exitCode": 2, "reason": "Error", "finishedAt": noon().to_string()}});
        let container =
            json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": died});
        let mut seen = seen(json!([mounting(container)]), json!([]));
        seen.logs.insert("pgset-0".to_owned(), vec!["pgset: before".to_owned(), line.to_owned()]);
        seen
    }

    #[test]
    fn a_file_that_last_words_miss_is_a_key_of_the_configmap_that_is_mounted_there() {
        for (line, key) in [
            ("/bin/sh: 0: cannot open /pgset/config/start.sh: No such file", "start.sh"),
            ("/bin/sh: 0: Can't open /pgset/config/start.sh", "start.sh"),
            ("/bin/sh: /pgset/config/start.sh: No such file or directory", "start.sh"),
            ("/pgset/config/start.sh: 25: .: cannot open /pgset/config/lib.sh: No such file", "lib.sh"),
            (
                "/pgset/config/start.sh: .: line 25: can't open '/pgset/config/lib.sh': No such file or directory",
                "lib.sh",
            ),
            (
                "postgres: could not access the server configuration file \"/pgset/config/postgresql.conf\": No such file or directory",
                "postgresql.conf",
            ),
        ] {
            let dead = died(line);
            assert_eq!(lacking_objects(&dead), BTreeSet::from([("ConfigMap", "pgset-config".to_owned())]));
            let judged = |seen: &Observation| {
                diagnose(seen, Some(noon() - GRACE))
                    .into_iter()
                    .find(|one| one.code == "PGS-CONFIGMAP-MISSING")
                    .unwrap()
            };
            let lacks = judged(&dead);
            assert_eq!((lacks.code, lacks.object.name.as_str()), ("PGS-CONFIGMAP-MISSING", "pgset-config"), "{line}");
            assert!(lacks.summary.contains(&format!("has no key {key}, which pgset-0 needs")), "{}", lacks.summary);
            assert!(lacks.ends_wait(noon()), "at the first death");
            // Missing still, so the death of before the wait is no old news: the next try is in vain.
            let missing = with_keys(dead.clone(), "ConfigMap pgset-config", &[]);
            let later = diagnose(&missing, Some(noon() + GRACE));
            assert!(later.iter().any(|one| one.code == lacks.code && one.ends_wait(noon() + GRACE)), "{later:?}");
            // Last words of before it was put back are old news, however often it has died.
            let mended = judged(&with_keys(dead, "ConfigMap pgset-config", &[key]));
            assert_eq!((mended.code, mended.ends_wait(Timestamp::MAX)), ("PGS-CONFIGMAP-MISSING", false));
        }
    }

    #[test]
    fn other_last_words_are_no_missing_key() {
        for line in [
            "cannot open /pgset/config/start.sh: Permission denied",
            "cannot open /pgset/state/system-identifier: No such file",
            "cannot open /etc/start.sh: No such file",
            "cannot open /pgset/config/: No such file",
            "/pgset/config/start.sh: starts",
        ] {
            assert!(lacking_objects(&died(line)).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_probe_that_misses_its_script_is_told_when_it_lasts() {
        let running = mounting(json!({"state": {"running": {"startedAt": noon().to_string()}}}));
        let words = "Startup probe failed: /bin/sh: 0: cannot open /pgset/config/ready.sh: No such file\n";
        let seen = seen(json!([running]), json!([event("Pod", "pgset-0", "Unhealthy", words)]));
        let mut found = findings(&Asked { seen: &seen, since: None }).remove(0);
        found.met_at(noon());
        assert!(found.summary.contains("has no key ready.sh"), "{found:?}");
        assert!(!found.ends_wait(noon() + GRACE - PROBE_NORMAL) && found.ends_wait(noon() + GRACE));
        let mut mended =
            findings(&Asked { seen: &with_keys(seen, "ConfigMap pgset-config", &["ready.sh"]), since: None });
        mended[0].met_at(noon());
        assert!(!mended[0].ends_wait(Timestamp::MAX));
    }

    #[test]
    fn the_node_authorizers_race_is_no_finding() {
        let message = "MountVolume.SetUp failed for volume \"config\" : configmap \"pgset-config\" is forbidden: no \
            relationship found between node 'node1' and this object";
        let seen = seen(json!([pod("pgset-0", json!({}))]), json!([event("Pod", "pgset-0", "FailedMount", message)]));
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
    }
}
