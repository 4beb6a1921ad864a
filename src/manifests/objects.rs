//! The two objects that no template makes: the passwords, which must never be printed, and the notes about a running
//! set.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Names, Object, ObjectKind};
use crate::settings::{Password, Settings};

/// The passwords of a set, given or generated.
#[derive(Clone, Debug)]
pub struct Passwords {
    pub superuser: Password,
    pub replication: Password,
    pub user: Password,
}

/// The Secret `NAME-passwords`.
#[must_use]
pub fn passwords_secret(settings: &Settings, passwords: &Passwords) -> Object {
    let names = Names::new(&settings.name, &settings.namespace);
    let fields = json!({
        "type": "Opaque",
        "stringData": {
            "superuser": passwords.superuser.reveal(),
            "replication": passwords.replication.reveal(),
            "user": passwords.user.reveal(),
        },
    });
    object(&names, ObjectKind::Secret, names.passwords(), fields)
}

/// What pgset notes about a running set: its identity, and what a later start or `down` has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The database's system identifier, once the set has been healthy: an empty member never initialises another.
    pub system_identifier: Option<String>,
    /// Members whose folders a scale-down left behind, each with the word that tells this time from earlier ones.
    pub retired: BTreeMap<String, String>,
    /// The image and uid the members ran with last: `down --delete-data` needs them when the StatefulSet is gone.
    pub image: Option<String>,
    pub uid: Option<i64>,
    /// How many members the set has while its StatefulSet is not there to say so: stopped, or being made anew.
    pub replicas: Option<u8>,
    /// The primary, when the set was healthy last: `down` takes away the Service that says it.
    pub primary: Option<String>,
    /// A switchover that has begun and has not been seen to its end.
    pub promotion: Option<Promotion>,
}

/// A switchover under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// The primary that steps down.
    pub from: String,
    /// The member that takes its place.
    pub to: String,
    /// It may have been told so. Noted before it is: from then on no other member may be made the primary.
    pub told: bool,
}

impl State {
    /// Reads the ConfigMap `NAME-state` as the API server has it; what is not there is not known.
    #[must_use]
    pub fn read(live: &Value) -> Self {
        let text = |key: &str| live["data"][key].as_str().map(str::trim).filter(|text| !text.is_empty());
        let retired = text("retired").unwrap_or_default().lines().filter_map(|line| line.split_once(' '));
        Self {
            system_identifier: text("system-identifier").map(str::to_owned),
            retired: retired.map(|(member, token)| (member.to_owned(), token.trim().to_owned())).collect(),
            image: text("image").map(str::to_owned),
            uid: text("uid").and_then(|uid| uid.parse().ok()),
            replicas: text("replicas").and_then(|replicas| replicas.parse().ok()),
            primary: text("primary").map(str::to_owned),
            promotion: text("promotion").and_then(Promotion::read),
        }
    }

    /// The ConfigMap `NAME-state`. The members' start script reads `system-identifier` and `retired` (a line each:
    /// `MEMBER TOKEN`).
    #[must_use]
    pub fn config_map(&self, names: &Names) -> Object {
        let mut data = json!({});
        let uid = self.uid.map(|uid| uid.to_string());
        let replicas = self.replicas.map(|replicas| replicas.to_string());
        let promotion = self.promotion.as_ref().map(Promotion::words);
        let values = [
            ("system-identifier", &self.system_identifier),
            ("image", &self.image),
            ("uid", &uid),
            ("replicas", &replicas),
            ("primary", &self.primary),
            ("promotion", &promotion),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                data[key] = value.as_str().into();
            }
        }
        let mut lines = String::new();
        for (member, token) in &self.retired {
            let _ = writeln!(lines, "{member} {token}");
        }
        data["retired"] = lines.into();
        object(names, ObjectKind::ConfigMap, names.state(), json!({ "data": data }))
    }
}

/// What stands behind the members of a [`Promotion`] that has been told.
const TOLD: &str = "told";

impl Promotion {
    /// `FROM TO`, or `FROM TO told`.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (from, to) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Self { from, to, told: words.next() == Some(TOLD) })
    }

    fn words(&self) -> String {
        let told = if self.told { format!(" {TOLD}") } else { String::new() };
        format!("{} {}{told}", self.from, self.to)
    }
}

/// A PersistentVolume like this one for another member's claim: how a set on static volumes grows beyond those its
/// manifests brought.
#[must_use]
pub fn volume_like(volume: &Value, names: &Names, ordinal: u8) -> Object {
    let name = names.volume(ordinal + 1);
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": volume["metadata"]["labels"]},
        "spec": volume["spec"],
    });
    body["spec"]["claimRef"] = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": names.namespace(),
        "name": names.member_claim(ordinal),
    });
    Object { kind: ObjectKind::PersistentVolume, namespace: None, name, body }
}

fn object(names: &Names, kind: ObjectKind, name: String, fields: Value) -> Object {
    let mut body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "namespace": names.namespace(),
            "labels": {
                "app": names.set(),
                "app.kubernetes.io/name": "postgresql",
                "app.kubernetes.io/instance": names.set(),
                "app.kubernetes.io/managed-by": "pgset",
            },
        },
    });
    if let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) {
        body.extend(fields);
    }
    Object { kind, namespace: Some(names.namespace().to_owned()), name, body }
}
