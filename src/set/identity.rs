//! How a client names itself to a set: the database and user its StatefulSet was made with.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PodSpec;

use super::observation::CONTAINER;

/// The set's own database and user; their passwords are in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub database: String,
    pub user: String,
    /// The user replicas log in as.
    pub replication_user: String,
}

/// The superuser of every set.
pub const SUPERUSER: &str = "postgres";

impl Identity {
    /// Reads them from the members' environment, where a set of its own manifests has only the image's variables; `None`
    /// when the StatefulSet does not say. `login` knows the user of a login that the manifests have from a Secret.
    #[must_use]
    pub fn with(set: &StatefulSet, login: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let value = |names: &[&str]| names.iter().find_map(|name| variable(set, name));
        Some(Self {
            database: value(&["PGSET_DATABASE", "PG_DATABASE"])?,
            user: login("user").or_else(|| value(&["PGSET_USER", "PG_USER"]))?,
            replication_user: login("replication")
                .or_else(|| value(&["PGSET_REPLICATION_USER", "PG_PRIMARY_USER", "PG_MASTER_USER"]))?,
        })
    }

    /// As [`Self::with`], by the StatefulSet alone.
    #[must_use]
    pub fn of(set: &StatefulSet) -> Option<Self> {
        Self::with(set, |_| None)
    }

    /// The key of the Secret that holds a user's password; `None` for users the set does not know.
    #[must_use]
    pub fn password_key(&self, user: &str) -> Option<&'static str> {
        match user {
            SUPERUSER => Some("superuser"),
            _ if user == self.replication_user => Some("replication"),
            _ if user == self.user => Some("user"),
            _ => None,
        }
    }
}

/// A variable of the members' PostgreSQL container, as the container sees it.
#[must_use]
pub fn variable(set: &StatefulSet, name: &str) -> Option<String> {
    let spec = set.spec.template.spec.as_ref()?;
    let container = spec.containers.iter().find(|container| container.name == CONTAINER)?;
    let variable = container.env.iter().flatten().find(|variable| variable.name == name)?;
    // Kubernetes expands $(NAME) in values, so a dollar sign is written twice there.
    Some(variable.value.as_deref()?.replace("$$", "$"))
}

/// Whether the members run a Crunchy image's own start script.
#[must_use]
pub fn is_crunchy(set: &StatefulSet) -> bool {
    variable(set, "PG_MODE").is_some()
}

/// Whether PostgreSQL's own lines are in files of the data folder alone: a Crunchy image logs there, and only pgset's start
/// script shows them in the container's log.
#[must_use]
pub fn logs_to_files(pod: &PodSpec) -> bool {
    let main = pod.containers.iter().find(|container| container.name == CONTAINER);
    main.is_some_and(|main| {
        main.env.iter().flatten().any(|variable| variable.name == "PG_MODE")
            && !main.command.iter().flatten().any(|word| word.starts_with("/pgset/"))
    })
}

/// Whether the manifests leave data checksums out, which a Crunchy image makes by its variable alone.
#[must_use]
pub fn asks_for_no_checksums(set: &StatefulSet) -> bool {
    is_crunchy(set) && variable(set, "CHECKSUMS").is_none_or(|value| value.is_empty())
}

/// Whether the image chooses the roles and labels its pods by itself.
#[must_use]
pub fn image_labels_pods(set: &StatefulSet) -> bool {
    variable(set, "PG_MODE").is_some_and(|mode| mode == "set")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crunchy_image_that_pgsets_script_does_not_start_keeps_its_log_to_itself() {
        let pod = |container: serde_json::Value| -> PodSpec {
            serde_json::from_value(json!({"containers": [{"name": "sidecar", "command": ["/pgset/x"]}, container]}))
                .unwrap()
        };
        let env = json!([{"name": "PG_MODE", "value": "set"}]);
        let command = json!(["/bin/sh", "/pgset/config/start.sh"]);
        assert!(logs_to_files(&pod(json!({"name": "pgset", "env": env}))));
        assert!(!logs_to_files(&pod(json!({"name": "pgset", "env": env, "command": command}))));
        assert!(!logs_to_files(&pod(json!({"name": "pgset"}))));
    }

    #[test]
    fn names_are_read_as_the_container_sees_them() {
        let set = |env: serde_json::Value| -> StatefulSet {
            let container = json!({"name": "pgset", "env": env});
            serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {}, "serviceName": "pgset",
                "template": {"spec": {"containers": [container]}}}}))
            .unwrap()
        };
        let env = json!([{"name": "PGSET_DATABASE", "value": "a$$(HOME)$$$$"}, {"name": "PGSET_USER", "value": "o'neil"},
                {"name": "PGSET_REPLICATION_USER", "value": "replicator"}]);
        let identity = Identity::of(&set(env)).unwrap();
        assert_eq!((identity.database.as_str(), identity.user.as_str()), ("a$(HOME)$$", "o'neil"));
        assert_eq!(Identity::of(&set(json!([{"name": "PGSET_USER", "value": "x"}]))), None);
        let image = set(json!([{"name": "PG_DATABASE", "value": "userdb"}, {"name": "PG_USER", "value": "testuser"},
            {"name": "PG_MASTER_USER", "value": "master"}]));
        let read = Identity::of(&image).unwrap();
        assert_eq!([read.database, read.user, read.replication_user], ["userdb", "testuser", "master"]);
        let read = Identity::with(&image, |key| (key == "user").then(|| "secret".to_owned())).unwrap();
        assert_eq!([read.user, read.replication_user], ["secret", "master"]);
        assert_eq!(
            ["o'neil", "postgres", "replicator", "x"].map(|user| identity.password_key(user)),
            [Some("user"), Some("superuser"), Some("replication"), None]
        );
    }
}
