//! The set's passwords, as the Secret holds them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{ApiFailure, Cluster};
use crate::manifests::Object;
use crate::set::Mask;

/// The Secret `NAME-passwords`.
#[derive(Clone)]
pub struct SetSecret {
    values: BTreeMap<String, String>,
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
        Self { values: values.collect(), created: None }
    }

    fn from_object(secret: &Secret) -> Self {
        let data = secret.data.iter().flatten();
        let values = data.filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.0.clone()).ok()?)));
        let created = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Self { values: values.collect(), created }
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
