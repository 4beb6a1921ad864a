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

/// The ConfigMap `NAME-state`: the data's system identifier once it is known, and the data folders that a scale-down
/// left behind, by member, with the token that the member's next clone carries.
#[must_use]
pub fn state_config_map(names: &Names, system_identifier: Option<&str>, retired: &BTreeMap<String, String>) -> Object {
    let mut data = json!({});
    if let Some(identifier) = system_identifier {
        data["system-identifier"] = identifier.into();
    }
    let mut lines = String::new();
    for (member, token) in retired {
        let _ = writeln!(lines, "{member} {token}");
    }
    data["retired"] = lines.into();
    object(names, ObjectKind::ConfigMap, names.state(), json!({ "data": data }))
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
