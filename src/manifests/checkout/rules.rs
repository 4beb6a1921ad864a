//! What today's clusters need of the seed's manifests, one named rule each.
//!
//! A rule looks at an object of the checkout and at pgset's own object of the same part, which has everything in the
//! checked form of the templates, and takes from it what is missing or has to be otherwise. What a person wrote stays
//! wherever Kubernetes can still do it.

use serde_json::{Map, Value};

use super::build::Part;

/// One upgrade.
pub(super) struct Rule {
    /// What a person calls it.
    pub name: &'static str,
    /// Why it is, in one line.
    pub why: &'static str,
    /// Whether `--as-is` leaves it on: without it no cluster takes the object at all.
    pub always: bool,
    pub applies: fn(Part) -> bool,
    pub does: Does,
}

/// What a rule does to an object of the checkout (the container that runs PostgreSQL being the first) by pgset's own.
pub(super) enum Does {
    /// These fields become what pgset's own object has.
    Set(&'static [&'static str]),
    /// So do these, where the object has none of its own.
    Add(&'static [&'static str]),
    /// The objects in these fields get what pgset's own have beside theirs.
    AddMembers(&'static [&'static str]),
    Change(fn(&mut Value, &Value)),
}

impl Rule {
    pub(super) fn apply(&self, object: &mut Value, own: &Value) {
        match self.does {
            Does::Set(fields) => fields.iter().for_each(|field| set(object, field, own)),
            Does::Add(fields) => fields.iter().for_each(|field| add(object, field, own)),
            Does::AddMembers(fields) => fields.iter().for_each(|field| add_members(object, field, own)),
            Does::Change(change) => change(object, own),
        }
    }
}

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

/// A field of the pod.
macro_rules! pod {
    ($field:literal) => {
        concat!("/spec/template/spec/", $field)
    };
}

/// A field of the container that runs PostgreSQL.
macro_rules! container {
    ($field:literal) => {
        concat!("/spec/template/spec/containers/0/", $field)
    };
}

const fn is_set(part: Part) -> bool {
    matches!(part, Part::StatefulSet)
}

const fn is_service(part: Part) -> bool {
    matches!(part, Part::Headless | Part::Master | Part::Replica)
}

/// All of them, in the order they are applied and shown.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "apps-v1",
        why: "apps/v1beta1 is gone since Kubernetes 1.16: the StatefulSet is of apps/v1",
        always: true,
        applies: is_set,
        does: Does::Set(&["/apiVersion"]),
    },
    Rule {
        name: "selector",
        why: "apps/v1 wants a selector: `app` alone, since pods change their label `name` and must not be orphaned",
        always: true,
        applies: is_set,
        does: Does::Set(&["/spec/selector"]),
    },
    Rule {
        name: "current-api",
        why: "beta versions of Role, RoleBinding and PodDisruptionBudget are gone: the current ones",
        always: true,
        applies: |part| !is_set(part),
        does: Does::Set(&["/apiVersion"]),
    },
    Rule {
        name: "rbac",
        why: "pods may call the API only with rights: a Role for exactly their label, nothing cluster-wide",
        always: false,
        applies: |part| matches!(part, Part::Role | Part::RoleBinding),
        does: Does::Change(|object, own| {
            for field in ["/rules", "/roleRef", "/subjects"] {
                if own.pointer(field).is_some() {
                    set(object, field, own);
                }
            }
        }),
    },
    Rule {
        name: "service-account-name",
        why: "`serviceAccount` is deprecated: serviceAccountName",
        always: false,
        applies: is_set,
        does: Does::Change(|object, own| {
            remove(object, &format!("{POD}/serviceAccount"));
            set(object, &format!("{POD}/serviceAccountName"), own);
        }),
    },
    Rule {
        name: "token",
        why: "a pod has a token for the API where it calls the API, and none elsewhere",
        always: false,
        applies: |part| is_set(part) || part == Part::Account,
        does: Does::Add(&["/automountServiceAccountToken", pod!("automountServiceAccountToken")]),
    },
    Rule {
        name: "storage-class",
        why: "a default StorageClass takes a claim that names none: the class is written down, empty for volumes of one's own",
        always: false,
        applies: |part| matches!(part, Part::Volume | Part::Claim | Part::StatefulSet),
        does: Does::Change(|object, own| {
            set(object, "/spec/storageClassName", own);
            for index in 0..list(object, "/spec/volumeClaimTemplates").len() {
                let template = format!("/spec/volumeClaimTemplates/{index}");
                set_from(
                    object,
                    &format!("{template}/spec/storageClassName"),
                    own,
                    "/spec/volumeClaimTemplates/0/spec/storageClassName",
                );
                remove(object, &format!("{template}/metadata/annotations/volume.alpha.kubernetes.io~1storage-class"));
                remove_empty(object, &format!("{template}/metadata/annotations"));
            }
        }),
    },
    Rule {
        name: "access-modes",
        why: "a claim of one member needs no ReadWriteMany, which few StorageClasses have",
        always: false,
        applies: |part| matches!(part, Part::Volume | Part::Claim | Part::StatefulSet),
        does: Does::Change(|object, own| {
            for pointer in ["/spec/accessModes", "/spec/volumeClaimTemplates/0/spec/accessModes"] {
                let has = list(object, pointer);
                if !has.is_empty() && !list(own, pointer).iter().all(|mode| has.contains(mode)) {
                    set(object, pointer, own);
                }
            }
        }),
    },
    Rule {
        name: "claim-ref",
        why: "volumes name the claim they are for, so that no other claim takes them; a claim needs no selector then",
        always: false,
        applies: |part| matches!(part, Part::Volume | Part::Claim),
        does: Does::Change(|object, own| {
            set(object, "/spec/claimRef", own);
            remove(object, "/spec/selector");
        }),
    },
    Rule {
        name: "mount-options",
        why: "NFS is mounted hard and with version 4.1: a soft mount gives PostgreSQL errors where it should wait",
        always: false,
        applies: |part| part == Part::Volume,
        does: Does::Add(&["/spec/mountOptions"]),
    },
    Rule {
        name: "host-path-type",
        why: "the folder has to be there: one that the kubelet makes would be root's",
        always: false,
        applies: |part| part == Part::Volume,
        does: Does::Change(|object, own| {
            if object.pointer("/spec/hostPath").is_some() {
                add(object, "/spec/hostPath/type", own);
            }
        }),
    },
    Rule {
        name: "node-port",
        why: "`nodePort: 0` means nothing today: dropped",
        always: false,
        applies: is_service,
        does: Does::Change(|object, _| {
            for index in 0..list(object, "/spec/ports").len() {
                let port = format!("/spec/ports/{index}/nodePort");
                if object.pointer(&port).and_then(Value::as_u64) == Some(0) {
                    remove(object, &port);
                }
            }
        }),
    },
    Rule {
        name: "primary-by-pod",
        why: "the Service of the primary selects its pod by name: the label that the image sets is lost with the pod",
        always: false,
        applies: |part| part == Part::Master,
        does: Does::Set(&["/spec/selector"]),
    },
    Rule {
        name: "port-5432",
        why: "a Service on another port has 5432 as well: members that are cloned already, and pgset, know it by that",
        always: false,
        applies: |part| matches!(part, Part::Master | Part::Replica),
        does: Does::Change(port_5432),
    },
    Rule {
        name: "members-before-ready",
        why: "members find each other by name while they start, before they are ready",
        always: false,
        applies: |part| part == Part::Headless,
        does: Does::Add(&["/spec/publishNotReadyAddresses"]),
    },
    Rule {
        name: "ip-families",
        why: "Services have the address families that the image lets in",
        always: false,
        applies: is_service,
        does: Does::Add(&["/spec/ipFamilies", "/spec/ipFamilyPolicy"]),
    },
    Rule {
        name: "mode",
        why: "how a member becomes primary or replica is what the image's tag can do: PG_MODE, the names of its variables, the command",
        always: false,
        applies: is_set,
        does: Does::Change(mode),
    },
    Rule {
        name: "secrets",
        why: "passwords come from a mounted Secret: in variables they land in the pod's log, which anyone may read who reads pods",
        always: false,
        applies: is_set,
        does: Does::Change(|object, own| {
            env_list(object).retain(|variable| !is_password(variable["name"].as_str().unwrap_or_default()));
            mounts(object, own, |volume| volume["secret"].is_object() || volume["projected"].is_object());
        }),
    },
    Rule {
        name: "mounts",
        why: "the folders in memory and of settings that the members' programs need",
        always: false,
        applies: is_set,
        does: Does::Change(|object, own| mounts(object, own, |volume| !volume["persistentVolumeClaim"].is_object())),
    },
    Rule {
        name: "probes",
        why: "startup, readiness and liveness probes: without them a member that loops is Running and ready",
        always: false,
        applies: is_set,
        does: Does::Add(&[container!("startupProbe"), container!("readinessProbe"), container!("livenessProbe")]),
    },
    Rule {
        name: "pre-stop",
        why: "PostgreSQL is shut down in order before a pod goes, and has the time for it",
        always: false,
        applies: is_set,
        does: Does::Add(&[
            container!("lifecycle"),
            container!("lifecycle/preStop"),
            pod!("terminationGracePeriodSeconds"),
        ]),
    },
    Rule {
        name: "security-context",
        why: "members run as the image's own user, without privileges",
        always: false,
        applies: is_set,
        does: Does::AddMembers(&[pod!("securityContext"), container!("securityContext")]),
    },
    Rule {
        name: "resources",
        why: "a member asks for the processor and memory it needs, so that the scheduler knows",
        always: false,
        applies: is_set,
        does: Does::Add(&[container!("resources")]),
    },
    Rule {
        name: "placement",
        why: "members keep apart where they can, start in the order the image needs, and leave their claims",
        always: false,
        applies: is_set,
        does: Does::Change(|object, own| {
            for field in ["podManagementPolicy", "persistentVolumeClaimRetentionPolicy", "updateStrategy"] {
                add(object, &format!("/spec/{field}"), own);
            }
            for field in ["affinity", "enableServiceLinks"] {
                add(object, &format!("{POD}/{field}"), own);
            }
            add_members(object, "/spec/template/metadata/annotations", own);
        }),
    },
];

fn port_5432(object: &mut Value, own: &Value) {
    let has = list(object, "/spec/ports");
    let number = |port: &Value| port["port"].as_u64();
    let Some(own) = list(own, "/spec/ports").first() else { return };
    if has.is_empty() || has.iter().any(|port| number(port) == number(own)) {
        return;
    }
    let ports = list_mut(object, "/spec/ports");
    // Where there are several, every one needs a name.
    for port in ports.iter_mut().filter(|port| port["name"].as_str().is_none_or(|name| name == "postgres")) {
        port["name"] = format!("port-{}", number(port).unwrap_or_default()).into();
    }
    ports.push(own.clone());
}

/// The variables by which the image knows its part. Which there are depends on its tag.
const MODE_VARIABLES: [&str; 9] = [
    "PG_MODE",
    "PG_MASTER_USER",
    "PG_MASTER_HOST",
    "PG_MASTER_PORT",
    "PG_PRIMARY_USER",
    "PG_PRIMARY_HOST",
    "PG_PRIMARY_PORT",
    "PG_REPLICA_HOST",
    "MODE",
];

fn is_password(name: &str) -> bool {
    matches!(name, "PG_PASSWORD" | "PG_ROOT_PASSWORD" | "PG_MASTER_PASSWORD" | "PG_PRIMARY_PASSWORD")
}

fn mode(object: &mut Value, own: &Value) {
    let own_env = list(own, &format!("{CONTAINER}/env")).to_vec();
    let env = env_list(object);
    // A name of another tag's contract means nothing to this image, and misleads whoever reads it.
    env.retain(|variable| {
        let name = variable["name"].as_str().unwrap_or_default();
        !MODE_VARIABLES.contains(&name) || own_env.iter().any(|own| own["name"] == name)
    });
    for own in &own_env {
        let name = own["name"].as_str().unwrap_or_default();
        match env.iter_mut().find(|variable| variable["name"] == name) {
            Some(variable) if MODE_VARIABLES.contains(&name) => *variable = own.clone(),
            None if !is_password(name) => env.push(own.clone()),
            Some(_) | None => {}
        }
    }
    for field in ["command", "args"] {
        let pointer = format!("{CONTAINER}/{field}");
        if own.pointer(&pointer).is_some() {
            set(object, &pointer, own);
        }
    }
}

/// Takes over pgset's own volumes for which `wanted` holds, and where they are mounted.
fn mounts(object: &mut Value, own: &Value, wanted: impl Fn(&Value) -> bool) {
    let volumes: Vec<Value> =
        list(own, &format!("{POD}/volumes")).iter().filter(|volume| wanted(volume)).cloned().collect();
    let has = |items: &[Value], field: &str, item: &Value| items.iter().any(|other| other[field] == item[field]);
    for mount in list(own, &format!("{CONTAINER}/volumeMounts")) {
        let mounted = list(object, &format!("{CONTAINER}/volumeMounts"));
        let ours = volumes.iter().any(|volume| volume["name"] == mount["name"]);
        if ours && !has(mounted, "mountPath", mount) {
            push(object, &format!("{CONTAINER}/volumeMounts"), mount.clone());
        }
    }
    for volume in volumes {
        if !has(list(object, &format!("{POD}/volumes")), "name", &volume) {
            push(object, &format!("{POD}/volumes"), volume);
        }
    }
}

/// The environment of the container that runs PostgreSQL.
pub(super) fn env_list(object: &mut Value) -> &mut Vec<Value> {
    list_mut(object, &format!("{CONTAINER}/env"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn push(value: &mut Value, pointer: &str, item: Value) {
    list_mut(value, pointer).push(item);
}

fn list_mut<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Vec<Value> {
    let place = place(value, pointer);
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    match place {
        Value::Array(items) => items,
        _ => unreachable!("made a list above"),
    }
}

/// Where a pointer leads; objects on the way are made where nothing is.
pub(super) fn place<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Value {
    let mut at = value;
    for step in pointer.split('/').skip(1) {
        let key = step.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Array(items) => {
                let index = key.parse().unwrap_or(0).min(items.len());
                if index == items.len() {
                    items.push(Value::Null);
                }
                &mut items[index]
            }
            other => {
                if !other.is_object() {
                    *other = Value::Object(Map::new());
                }
                match other {
                    Value::Object(entries) => entries.entry(key).or_insert(Value::Null),
                    _ => unreachable!("made an object above"),
                }
            }
        };
    }
    at
}

/// The value at `pointer` as pgset's own object has it; gone where that has none.
pub(super) fn set(object: &mut Value, pointer: &str, own: &Value) {
    set_from(object, pointer, own, pointer);
}

pub(super) fn set_from(object: &mut Value, pointer: &str, own: &Value, from: &str) {
    match own.pointer(from) {
        Some(value) => *place(object, pointer) = value.clone(),
        None => remove(object, pointer),
    }
}

/// The value at `pointer` as pgset's own object has it, where the object has none.
fn add(object: &mut Value, pointer: &str, own: &Value) {
    if object.pointer(pointer).is_none_or(Value::is_null)
        && let Some(value) = own.pointer(pointer)
    {
        *place(object, pointer) = value.clone();
    }
}

/// The members of the object at `pointer` that pgset's own has and this has not.
pub(super) fn add_members(object: &mut Value, pointer: &str, own: &Value) {
    for key in own.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        add(object, &format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), own);
    }
}

pub(super) fn remove(object: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    if let Some(Value::Object(entries)) = object.pointer_mut(parent) {
        entries.remove(&key);
    }
}

fn remove_empty(object: &mut Value, pointer: &str) {
    if object.pointer(pointer).and_then(Value::as_object).is_some_and(Map::is_empty) {
        remove(object, pointer);
    }
}
