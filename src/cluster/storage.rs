//! The cluster's StorageClasses, and one set's claims.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{ListParams, Patch};
use serde_json::json;
use tokio::sync::OnceCell;

use super::member::manager;
use super::{ApiFailure, Cluster};

/// The StorageClasses of a cluster.
pub struct Classes(Vec<StorageClass>);

impl Classes {
    /// Lists them; `None` for a user who may not: unknown is not missing.
    ///
    /// # Errors
    /// The API server does not answer.
    async fn list(cluster: &Cluster) -> Result<Option<Self>, ApiFailure> {
        let classes: Api<StorageClass> = Api::all(cluster.client.clone());
        let listed = classes.list(&ListParams::default()).await;
        match listed.map_err(|error| ApiFailure::new("failed to list StorageClasses", &error)) {
            Ok(list) => Ok(Some(Self(list.items))),
            Err(failure) if failure.is_forbidden() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().filter_map(|class| class.metadata.name.as_deref()).collect()
    }

    /// The class of claims that name none.
    #[must_use]
    pub fn default(&self) -> Option<&str> {
        let is_default = |class: &&StorageClass| {
            let annotations = class.metadata.annotations.as_ref();
            let word = annotations.and_then(|all| all.get("storageclass.kubernetes.io/is-default-class"));
            word.is_some_and(|value| value == "true")
        };
        self.0.iter().find(is_default)?.metadata.name.as_deref()
    }

    /// Whether claims of this class can grow.
    #[must_use]
    pub fn allows_expansion(&self, name: &str) -> bool {
        let class = self.0.iter().find(|class| class.metadata.name.as_deref() == Some(name));
        class.and_then(|class| class.allow_volume_expansion).unwrap_or(false)
    }
}

/// The StorageClasses, listed once, when somebody first asks for them.
pub struct ClassesOnce<'a> {
    cluster: &'a Cluster,
    listed: OnceCell<Option<Classes>>,
}

impl<'a> ClassesOnce<'a> {
    #[must_use]
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, listed: OnceCell::new() }
    }

    /// As of [`Classes::list`].
    ///
    /// # Errors
    /// The API server does not answer; who asks next tries again.
    pub async fn get(&self) -> Result<Option<&Classes>, ApiFailure> {
        self.listed.get_or_try_init(|| Classes::list(self.cluster)).await.map(Option::as_ref)
    }
}

/// The claims with the set's `app` label.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn claims_of(
    cluster: &Cluster,
    namespace: &str,
    set: &str,
) -> Result<Vec<PersistentVolumeClaim>, ApiFailure> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), namespace);
    let listed = claims.list(&ListParams::default().labels(&format!("app={set}"))).await;
    let what = || format!("failed to list persistentvolumeclaims in namespace {namespace}");
    listed.map(|list| list.items).map_err(|error| ApiFailure::new(what(), &error))
}

/// Asks for a larger volume behind a claim.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn grow_claim(cluster: &Cluster, namespace: &str, claim: &str, size: &str) -> Result<(), ApiFailure> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), namespace);
    let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let what = || format!("failed to enlarge PersistentVolumeClaim {claim} in namespace {namespace}");
    let patched = claims.patch(claim, &manager(), &Patch::Merge(&patch)).await;
    patched.map(|_| ()).map_err(|error| ApiFailure::new(what(), &error))
}
