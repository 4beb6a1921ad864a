//! The set's passwords, as the Secret holds them.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{ApiFailure, Cluster};
use crate::manifests::{Names, Object};
use crate::set::Mask;
use crate::set::own::{Origin, logins, secrets};

/// The set's passwords: those of the Secret `NAME-passwords`, or of manifests that have their own.
#[derive(Clone)]
pub struct SetSecret {
    values: BTreeMap<String, String>,
    /// Whose they are, where the set's own manifests say so.
    users: BTreeMap<String, String>,
    /// Where they are; empty for the Secret `NAME-passwords`.
    origins: BTreeMap<String, Origin>,
    /// When it was made; `None` for one that is about to be.
    pub created: Option<Timestamp>,
}

impl SetSecret {
    /// Reads it; `None` when there is none.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn read(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<Self>, ApiFailure> {
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
        let what = || format!("failed to read Secret {name} in namespace {namespace}");
        let secret = secrets.get_opt(name).await.map_err(|error| ApiFailure::new(what(), &error))?;
        Ok(secret.map(|secret| Self::from_object(&secret)))
    }

    /// The passwords in a Secret that is about to be made.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let data = object.body["stringData"].as_object().into_iter().flatten();
        let values = data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Self::of_values(values.collect(), None)
    }

    fn from_object(secret: &Secret) -> Self {
        let data = secret.data.iter().flatten();
        let values = data.filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.0.clone()).ok()?)));
        let created = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self::of_values(values.collect(), created)
    }

    fn of_values(values: BTreeMap<String, String>, created: Option<Timestamp>) -> Self {
        Self { values, users: BTreeMap::new(), origins: BTreeMap::new(), created }
    }

    /// The passwords of a set that is there: those of its own manifests where these have any, read now, else those of
    /// `NAME-passwords` as they were read already.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn of_set(
        cluster: &Cluster,
        names: &Names,
        set: Option<&StatefulSet>,
        kept: Result<Option<Self>, ApiFailure>,
    ) -> Result<Option<Self>, ApiFailure> {
        let logins = set.map(|set| logins(set, &names.passwords())).unwrap_or_default();
        if logins.is_empty() {
            return kept;
        }
        let named = secrets(&logins);
        let read = named.iter().map(|name| Self::read(cluster, names.namespace(), name));
        let read: BTreeMap<&str, Option<Self>> = named.iter().copied().zip(try_join_all(read).await?).collect();
        let text = |origin: &Origin| match origin {
            Origin::Variable { value, .. } => Some(value.clone()),
            Origin::Secret { secret, key } => read.get(secret.as_str())?.as_ref()?.values.get(key).cloned(),
        };
        let mut all = Self::of_values(BTreeMap::new(), None);
        for login in &logins {
            let key = login.key.to_owned();
            all.values.extend(text(&login.password).map(|password| (key.clone(), password)));
            all.users.extend(login.user.as_ref().and_then(text).map(|user| (key.clone(), user)));
            all.origins.insert(key, login.password.clone());
        }
        Ok(Some(all))
    }

    /// The user of a login, where the set's own manifests name one.
    #[must_use]
    pub fn user(&self, key: &str) -> Option<String> {
        self.users.get(key).cloned()
    }

    /// Where a password is, where that is not the Secret `NAME-passwords`.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// Which passwords there are.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        self.values.keys().cloned().collect()
    }

    /// What hides the passwords wherever they turn up.
    #[must_use]
    pub fn mask(&self) -> Mask {
        Mask::of(self.values.values().cloned())
    }

    /// One of `superuser`, `replication`, `user`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}
