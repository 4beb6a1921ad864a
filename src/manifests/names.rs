//! What every object of a set is called, in one place.
//!
//! The names are the 2017 example's, exactly, for the set `pgset` in the namespace `default`.

use super::{Manifests, ObjectKind};
use crate::settings::{Namespace, SetName};

/// The names of one set's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    set: String,
    namespace: String,
}

impl Names {
    /// How many PersistentVolumes a set without a StorageClass brings at least, as the 2017 example did.
    pub const LEAST_VOLUMES: u8 = 3;

    #[must_use]
    pub fn new(set: &SetName, namespace: &Namespace) -> Self {
        Self { set: set.as_str().to_owned(), namespace: namespace.as_str().to_owned() }
    }

    /// The names of the set that `manifests` describe.
    #[must_use]
    pub fn of(manifests: &Manifests) -> Option<Self> {
        let set = manifests.objects.iter().find(|object| object.kind == ObjectKind::StatefulSet)?;
        Some(Self { set: set.name.clone(), namespace: set.namespace.clone()? })
    }

    /// The set's own name: the value of the label `app`.
    #[must_use]
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The namespace of everything but the PersistentVolumes.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The StatefulSet.
    #[must_use]
    pub fn statefulset(&self) -> &str {
        &self.set
    }

    /// The headless Service that gives members their DNS names.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.set
    }

    /// The Service of the primary.
    #[must_use]
    pub fn master_service(&self) -> String {
        format!("{}-master", self.set)
    }

    /// The Service of the replicas.
    #[must_use]
    pub fn replica_service(&self) -> String {
        format!("{}-replica", self.set)
    }

    /// The ServiceAccount the members run as.
    #[must_use]
    pub fn service_account(&self) -> String {
        format!("{}-sa", self.set)
    }

    /// The Role, and its binding, that let a Crunchy image label its own pods.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.set
    }

    /// The one claim of the shared layout.
    #[must_use]
    pub fn shared_claim(&self) -> String {
        format!("{}-pvc", self.set)
    }

    /// The claim template of the per-pod layout.
    #[must_use]
    pub fn claim_template(&self) -> &'static str {
        "pgdata"
    }

    /// A member's claim in the per-pod layout, as the StatefulSet controller names it.
    #[must_use]
    pub fn member_claim(&self, ordinal: u8) -> String {
        format!("{}-{}", self.claim_template(), self.member(ordinal))
    }

    /// A member: the name of its pod and of its data folder.
    #[must_use]
    pub fn member(&self, ordinal: u8) -> String {
        format!("{}-{ordinal}", self.set)
    }

    /// The ConfigMap with the scripts and PostgreSQL's settings.
    #[must_use]
    pub fn config(&self) -> String {
        format!("{}-config", self.set)
    }

    /// The Secret with the passwords.
    #[must_use]
    pub fn passwords(&self) -> String {
        format!("{}-passwords", self.set)
    }

    /// The ConfigMap with what the command line notes about a running set.
    #[must_use]
    pub fn state(&self) -> String {
        format!("{}-state", self.set)
    }

    /// The PodDisruptionBudget.
    #[must_use]
    pub fn disruption_budget(&self) -> &str {
        &self.set
    }

    /// The `number`th PersistentVolume, counted from 1.
    ///
    /// PersistentVolumes belong to no namespace, so any but the 2017 example's own set carries namespace and set in
    /// the name. Neither can contain a dot, so two sets never meet.
    #[must_use]
    pub fn volume(&self, number: u8) -> String {
        if self.set == "pgset" && self.namespace == "default" {
            format!("pv{number}")
        } else {
            format!("{}.{}.pv{number}", self.namespace, self.set)
        }
    }
}
