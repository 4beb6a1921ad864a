//! Settings become Kubernetes objects: tera over the templates, YAML read and written in one module.
//!
//! Pure but for the reading of override templates. Knows nothing of clusters or terminals.

use serde_json::Value;

/// The objects of one set, in the order a reader expects them.
#[derive(Clone, Debug)]
pub struct Manifests {
    pub objects: Vec<Object>,
}

/// One object as it is sent to the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub kind: ObjectKind,
    /// `None` for cluster-wide objects (PersistentVolumes).
    pub namespace: Option<String>,
    pub name: String,
    /// The whole object, `apiVersion` and `kind` included.
    pub body: Value,
}

/// The kinds pgset makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    PersistentVolume,
    PersistentVolumeClaim,
    ServiceAccount,
    Role,
    RoleBinding,
    Secret,
    ConfigMap,
    Service,
    PodDisruptionBudget,
    StatefulSet,
}
