//! The passwords that a set's own manifests give: a checkout's, taken as it is, which knows nothing of pgset's Secret.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

use super::observation::CONTAINER;

/// Where the members have a text from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the StatefulSet, as this variable.
    Variable { name: String, value: String },
    /// A key of a Secret.
    Secret { secret: String, key: String },
}

/// A login as the manifests give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The key that pgset's own Secret has for it.
    pub key: &'static str,
    pub user: Option<Origin>,
    pub password: Origin,
}

/// What the images call a login: pgset's key, the variables of user and password, the folder a Secret is mounted at.
/// A folder beats the variables.
const LOGINS: [(&str, Option<&str>, &str, &str); 4] = [
    ("superuser", None, "PG_ROOT_PASSWORD", "/pgroot"),
    ("user", Some("PG_USER"), "PG_PASSWORD", "/pguser"),
    ("replication", Some("PG_PRIMARY_USER"), "PG_PRIMARY_PASSWORD", "/pgprimary"),
    ("replication", Some("PG_MASTER_USER"), "PG_MASTER_PASSWORD", "/pgmaster"),
];

/// The logins of a set that has them from elsewhere than the Secret `passwords`; none for a set of pgset's own.
#[must_use]
pub fn logins(set: &StatefulSet, passwords: &str) -> Vec<Login> {
    set.spec.template.spec.as_ref().map(|pod| logins_of(pod, passwords)).unwrap_or_default()
}

/// The same of a pod's specification that no cluster has yet.
#[must_use]
pub fn logins_of(pod: &PodSpec, passwords: &str) -> Vec<Login> {
    let Some(container) = pod.containers.iter().find(|container| container.name == CONTAINER) else {
        return Vec::new();
    };
    if pod.volumes.iter().flatten().any(|volume| secrets_of(volume).any(|(secret, _)| secret == passwords)) {
        return Vec::new();
    }
    let mut found: Vec<Login> = Vec::new();
    for (key, user, password, folder) in LOGINS {
        let user = mounted(pod, container, folder, "username").or_else(|| variable(container, user?));
        let password = mounted(pod, container, folder, "password").or_else(|| variable(container, password));
        if let Some(password) = password
            && !found.iter().any(|login| login.key == key)
        {
            found.push(Login { key, user, password });
        }
    }
    found
}

/// The Secrets that have to be read for these logins.
#[must_use]
pub fn secrets(logins: &[Login]) -> BTreeSet<&str> {
    let origins = logins.iter().flat_map(|login| login.user.iter().chain([&login.password]));
    let secrets = origins.filter_map(|origin| match origin {
        Origin::Secret { secret, .. } => Some(secret.as_str()),
        Origin::Variable { .. } => None,
    });
    secrets.collect()
}

/// A variable of the container, wherever its value comes from.
fn variable(container: &Container, name: &str) -> Option<Origin> {
    if let Some(variable) = container.env.iter().flatten().find(|variable| variable.name == name) {
        if let Some(value) = &variable.value {
            // Kubernetes expands $(NAME) in values, so a dollar sign is written twice there.
            return Some(Origin::Variable { name: name.to_owned(), value: value.replace("$$", "$") });
        }
        let key = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        return Some(Origin::Secret { secret: key.name.clone(), key: key.key.clone() });
    }
    // Of several the last one wins.
    container.env_from.iter().flatten().rev().find_map(|from| {
        let key = name.strip_prefix(from.prefix.as_deref().unwrap_or_default())?;
        Some(Origin::Secret { secret: from.secret_ref.as_ref()?.name.clone(), key: key.to_owned() })
    })
}

/// A file of a Secret that is mounted at a folder.
fn mounted(pod: &PodSpec, container: &Container, folder: &str, file: &str) -> Option<Origin> {
    let mount =
        container.volume_mounts.iter().flatten().find(|mount| mount.mount_path.trim_end_matches('/') == folder)?;
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name)?;
    secrets_of(volume).find_map(|(secret, items)| {
        let key = match items {
            None => file.to_owned(),
            Some(items) => items.iter().find(|item| item.path == file)?.key.clone(),
        };
        Some(Origin::Secret { secret: secret.to_owned(), key })
    })
}

type Items<'a> = Option<&'a Vec<k8s_openapi::api::core::v1::KeyToPath>>;

/// The Secrets that a volume shows, with the keys it picks.
fn secrets_of(volume: &Volume) -> impl Iterator<Item = (&str, Items<'_>)> {
    let whole = volume.secret.iter().filter_map(|one| Some((one.secret_name.as_deref()?, one.items.as_ref())));
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let parts = sources.filter_map(|source| source.secret.as_ref()).map(|one| (one.name.as_str(), one.items.as_ref()));
    whole.chain(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(container: Value, volumes: Value) -> StatefulSet {
        let mut container = container;
        container["name"] = "pgset".into();
        serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {}, "serviceName": "pgset",
            "template": {"spec": {"containers": [container], "volumes": volumes}}}}))
        .unwrap()
    }

    fn text(name: &str, value: &str) -> Origin {
        Origin::Variable { name: name.to_owned(), value: value.to_owned() }
    }

    fn key(secret: &str, key: &str) -> Origin {
        Origin::Secret { secret: secret.to_owned(), key: key.to_owned() }
    }

    fn env() -> Value {
        json!([{"name": "PG_ROOT_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "root"}}},
            {"name": "PG_USER", "value": "testuser"}, {"name": "PG_PASSWORD", "value": "pass$$word"},
            {"name": "PG_MASTER_USER", "value": "master"}])
    }

    #[test]
    fn variables_are_read_wherever_their_values_are() {
        let from = json!([{"secretRef": {"name": "first"}}, {"secretRef": {"name": "last"}, "prefix": "PG_"},
            {"configMapRef": {"name": "no-secret"}}]);
        let found = logins(&set(json!({"env": env(), "envFrom": from}), json!([])), "pgset-passwords");
        let expected = [
            Login { key: "superuser", user: None, password: key("mine", "root") },
            Login { key: "user", user: Some(text("PG_USER", "testuser")), password: text("PG_PASSWORD", "pass$word") },
            Login {
                key: "replication",
                user: Some(key("last", "PRIMARY_USER")),
                password: key("last", "PRIMARY_PASSWORD"),
            },
        ];
        assert_eq!(found, expected);
        assert_eq!(secrets(&found), BTreeSet::from(["last", "mine"]));
    }

    #[test]
    fn a_mounted_secret_beats_the_variables() {
        let mounts = json!([{"name": "root", "mountPath": "/pgroot/"}, {"name": "user", "mountPath": "/pguser"}]);
        let items = json!([{"key": "pw", "path": "password"}, {"key": "name", "path": "username"}]);
        let volumes = json!([{"name": "root", "secret": {"secretName": "root-secret"}},
            {"name": "user", "projected": {"sources": [{"secret": {"name": "user-secret", "items": items}}]}}]);
        let found = logins(&set(json!({"env": env(), "volumeMounts": mounts}), volumes), "pgset-passwords");
        assert_eq!(found[0].password, key("root-secret", "password"));
        assert_eq!(
            (found[1].user.clone(), found[1].password.clone()),
            (Some(key("user-secret", "name")), key("user-secret", "pw"))
        );
        assert_eq!(found.len(), 2, "a user without a password is no login");
    }

    #[test]
    fn a_set_with_pgsets_own_secret_has_no_others() {
        let volumes = json!([{"name": "passwords", "secret": {"secretName": "pgset-passwords"}}]);
        assert_eq!(logins(&set(json!({"env": env()}), volumes.clone()), "pgset-passwords"), []);
        assert_eq!(logins(&set(json!({"env": env()}), volumes), "other-passwords").len(), 2);
        assert_eq!(logins(&set(json!({}), json!([])), "pgset-passwords"), []);
    }
}
