//! How a client names itself to a set: the database and user its StatefulSet was made with.

use k8s_openapi::api::apps::v1::StatefulSet;

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
    /// Reads them from the members' environment; `None` when the StatefulSet does not say.
    #[must_use]
    pub fn of(set: &StatefulSet) -> Option<Self> {
        let value = |name: &str| variable(set, name);
        Some(Self {
            database: value("PGSET_DATABASE")?,
            user: value("PGSET_USER")?,
            replication_user: value("PGSET_REPLICATION_USER")?,
        })
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
        assert_eq!(
            ["o'neil", "postgres", "replicator", "x"].map(|user| identity.password_key(user)),
            [Some("user"), Some("superuser"), Some("replication"), None]
        );
    }
}
