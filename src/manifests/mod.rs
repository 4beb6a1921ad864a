//! Settings become Kubernetes objects: tera over the templates, YAML read and written in one module.
//!
//! Pure but for the reading of override templates. Knows nothing of clusters or terminals.

mod check;
mod checkout;
mod error;
mod memory;
mod names;
mod objects;
mod render;
mod templates;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use checkout::{Base, Checkout, CheckoutError};
pub use error::ManifestError;
pub use names::Names;
pub use objects::{Passwords, Promotion, State, passwords_secret, volume_like};
pub use render::{Context, render};
pub use templates::Templates;

/// The objects of one set, in the order a reader expects them.
#[derive(Clone, Debug)]
pub struct Manifests {
    pub objects: Vec<Object>,
    pub notes: Notes,
}

/// What became of a checkout's manifests, for whoever wants to know; empty without a checkout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub upgrades: Vec<Upgrade>,
    /// What settings that were given replace, a sentence each.
    pub replaced: Vec<String>,
    /// Objects that are not of the example, or that it lacks.
    pub added: Vec<String>,
    /// Objects that are not used.
    pub left_out: Vec<String>,
}

/// A named change that today's clusters need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Upgrade {
    pub name: &'static str,
    pub why: &'static str,
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

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::PersistentVolume,
        Self::PersistentVolumeClaim,
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
    ];

    /// The kind as manifests spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PersistentVolume => "PersistentVolume",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// Group and version as manifests spell them.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::PersistentVolume
            | Self::PersistentVolumeClaim
            | Self::ServiceAccount
            | Self::Secret
            | Self::ConfigMap
            | Self::Service => "v1",
            Self::Role | Self::RoleBinding => "rbac.authorization.k8s.io/v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::StatefulSet => "apps/v1",
        }
    }

    /// The API group; empty for the core one.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// The kind as addresses and rights spell it, such as `statefulsets`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::PersistentVolume => "persistentvolumes",
            Self::PersistentVolumeClaim => "persistentvolumeclaims",
            Self::ServiceAccount => "serviceaccounts",
            Self::Role => "roles",
            Self::RoleBinding => "rolebindings",
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::Service => "services",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::StatefulSet => "statefulsets",
        }
    }
}
