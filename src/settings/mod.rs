//! Flags, environment and file become [`Settings`]: every value parsed once into a type that cannot hold a bad one.
//!
//! Pure but for [`SettingsFile::load`], [`Env::from_process`] and [`ThisMachine`]. Knows nothing of manifests, clusters
//! or terminals.

mod choose;
mod contract;
mod file;
mod input;
mod passwords;
mod read;
mod resolve;
mod source;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use contract::{Contract, CrunchyVersion, Labels, SUPERUSER_FOLDER, SetMode, USER_FOLDER, Words};
pub use file::{DEFAULT_FILE, SettingsFile};
pub use input::{Context, Env, Machine, ThisMachine};
pub use resolve::{Connection, Inputs, Resolved, Sources, Target, Wishes, connection, resolve, target, wishes};
pub use source::{Problem, Source, Sourced, failure};
pub use table::{CHECKOUT_VARIABLES, Setting};
pub use types::*;

/// Everything that shapes a set, validated.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: SetName,
    pub namespace: Namespace,
    pub image: Image,
    pub flavor: Flavor,
    /// How a Crunchy image is spoken to; `None` for the other flavor.
    pub crunchy: Option<Crunchy>,
    /// Members in all, the primary included.
    pub replicas: Replicas,
    pub storage: Storage,
    pub layout: Layout,
    /// Size asked for by each claim.
    pub size: Quantity,
    /// CPU request of a member.
    pub cpu: Quantity,
    /// Memory request and limit of a member; PostgreSQL's memory settings follow it.
    pub memory: Quantity,
    pub database: PgIdentifier,
    pub user: PgIdentifier,
    pub passwords: GivenPasswords,
    /// Extra `postgresql.conf` lines, name to value.
    pub postgresql: BTreeMap<PgSetting, String>,
    /// The user and group id the members run as.
    pub uid: u32,
    /// A folder whose templates replace built-in ones.
    pub templates: Option<PathBuf>,
}

/// A Crunchy image as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crunchy {
    pub contract: Contract,
    pub role_by: RoleBy,
}

impl Crunchy {
    /// Whether its members call the Kubernetes API to label their pods.
    #[must_use]
    pub fn labels_pods(&self) -> bool {
        self.role_by == RoleBy::Image
    }
}

/// What is behind the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    Nfs {
        server: NfsServer,
        path: AbsolutePath,
    },
    HostPath {
        path: AbsolutePath,
    },
    /// A StorageClass; `None` is the cluster's default.
    Class {
        class: Option<ClassName>,
    },
}

impl Storage {
    #[must_use]
    pub fn kind(&self) -> StorageKind {
        match self {
            Self::Nfs { .. } => StorageKind::Nfs,
            Self::HostPath { .. } => StorageKind::HostPath,
            Self::Class { .. } => StorageKind::Class,
        }
    }
}

/// Passwords the person gave; what is `None` is generated.
#[derive(Clone, Debug, Default)]
pub struct GivenPasswords {
    pub superuser: Option<Password>,
    pub replication: Option<Password>,
    pub user: Option<Password>,
}
