//! The table of settings: what each is called as a flag, in the environment and in the settings file.

/// One setting a person can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    Name,
    Namespace,
    Context,
    Timeout,
    BuildBase,
    CcpImageTag,
    CcpImagePrefix,
    Image,
    Flavor,
    CrunchyVersion,
    RoleBy,
    Replicas,
    Storage,
    NfsPath,
    NfsServer,
    HostPath,
    StorageClass,
    Layout,
    Size,
    Cpu,
    Memory,
    Database,
    User,
    UserPassword,
    SuperuserPassword,
    ReplicationPassword,
    Parameters,
    Uid,
    Templates,
}

/// The variables of the crunchy-containers examples that are no setting of pgset's; its manifests may name them.
pub const CHECKOUT_VARIABLES: [&str; 10] = [
    "CCPROOT",
    "CCP_CLI",
    "CCP_NAMESPACE",
    "CCP_NFS_IP",
    "CCP_SECURITY_CONTEXT",
    "CCP_STORAGE_CAPACITY",
    "CCP_STORAGE_CLASS",
    "CCP_STORAGE_MODE",
    "CCP_STORAGE_PATH",
    "OSE_PROJECT",
];

/// A setting's names.
pub(super) struct Names {
    /// In the settings file, and in messages.
    pub key: &'static str,
    /// `None` for passwords, which every process of the machine could read from a command line.
    pub flag: Option<&'static str>,
    /// The first that is set counts.
    pub variables: &'static [&'static str],
}

impl Setting {
    pub const ALL: [Self; 29] = [
        Self::Name,
        Self::Namespace,
        Self::Context,
        Self::Timeout,
        Self::BuildBase,
        Self::CcpImageTag,
        Self::CcpImagePrefix,
        Self::Image,
        Self::Flavor,
        Self::CrunchyVersion,
        Self::RoleBy,
        Self::Replicas,
        Self::Storage,
        Self::NfsPath,
        Self::NfsServer,
        Self::HostPath,
        Self::StorageClass,
        Self::Layout,
        Self::Size,
        Self::Cpu,
        Self::Memory,
        Self::Database,
        Self::User,
        Self::UserPassword,
        Self::SuperuserPassword,
        Self::ReplicationPassword,
        Self::Parameters,
        Self::Uid,
        Self::Templates,
    ];

    /// The names. A variable of pgset's own is `PGSET_` and the flag's name; what follows are the seed's.
    ///
    /// No setting may come to be called `port`, or end in it: in a namespace with a Service called `pgset` every pod is
    /// given a variable `PGSET_PORT` by Kubernetes.
    pub(super) fn names(self) -> Names {
        let (key, flag, variables): (_, _, &[_]) = match self {
            Self::Name => ("name", "--name", &["PGSET_NAME"]),
            Self::Namespace => ("namespace", "--namespace", &["PGSET_NAMESPACE"]),
            Self::Context => ("context", "--context", &["PGSET_CONTEXT"]),
            Self::Timeout => ("timeout", "--timeout", &["PGSET_TIMEOUT"]),
            Self::BuildBase => ("buildbase", "--buildbase", &["PGSET_BUILDBASE", "BUILDBASE"]),
            Self::CcpImageTag => ("ccp-image-tag", "--ccp-image-tag", &["PGSET_CCP_IMAGE_TAG", "CCP_IMAGE_TAG"]),
            Self::CcpImagePrefix => {
                ("ccp-image-prefix", "--ccp-image-prefix", &["PGSET_CCP_IMAGE_PREFIX", "CCP_IMAGE_PREFIX"])
            }
            Self::Image => ("image", "--image", &["PGSET_IMAGE"]),
            Self::Flavor => ("flavor", "--flavor", &["PGSET_FLAVOR"]),
            Self::CrunchyVersion => ("crunchy-version", "--crunchy-version", &["PGSET_CRUNCHY_VERSION"]),
            Self::RoleBy => ("role-by", "--role-by", &["PGSET_ROLE_BY"]),
            Self::Replicas => ("replicas", "--replicas", &["PGSET_REPLICAS"]),
            Self::Storage => ("storage", "--storage", &["PGSET_STORAGE"]),
            Self::NfsPath => ("nfs-path", "--nfs-path", &["PGSET_NFS_PATH", "NFS_PATH"]),
            Self::NfsServer => ("nfs-server", "--nfs-server", &["PGSET_NFS_SERVER", "NFS_SERVER", "LOCAL_IP"]),
            Self::HostPath => ("host-path", "--host-path", &["PGSET_HOST_PATH"]),
            Self::StorageClass => ("storage-class", "--storage-class", &["PGSET_STORAGE_CLASS"]),
            Self::Layout => ("layout", "--layout", &["PGSET_LAYOUT"]),
            Self::Size => ("size", "--size", &["PGSET_SIZE"]),
            Self::Cpu => ("cpu", "--cpu", &["PGSET_CPU"]),
            Self::Memory => ("memory", "--memory", &["PGSET_MEMORY"]),
            Self::Database => ("database", "--database", &["PGSET_DATABASE", "PG_DATABASE"]),
            Self::User => ("user", "--user", &["PGSET_USER", "PG_USER"]),
            Self::UserPassword => ("user-password", "", &["PG_PASSWORD"]),
            Self::SuperuserPassword => ("superuser-password", "", &["PG_ROOT_PASSWORD"]),
            Self::ReplicationPassword => ("replication-password", "", &["PG_MASTER_PASSWORD"]),
            Self::Parameters => ("postgresql", "--set-parameter", &["PGSET_SET_PARAMETER"]),
            Self::Uid => ("uid", "--uid", &["PGSET_UID"]),
            Self::Templates => ("templates", "--templates", &["PGSET_TEMPLATES"]),
        };
        Names { key, flag: (!flag.is_empty()).then_some(flag), variables }
    }

    /// The environment variables that give it, pgset's own first; the seed's example files set some of them.
    #[must_use]
    pub fn variables(self) -> &'static [&'static str] {
        self.names().variables
    }

    /// The setting's name in the settings file and in messages.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.names().key
    }

    /// Whether its value is never shown.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::UserPassword | Self::SuperuserPassword | Self::ReplicationPassword)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_regular_and_unique() {
        let mut seen = BTreeSet::new();
        for setting in Setting::ALL {
            let Names { key, flag, variables } = setting.names();
            assert!(seen.insert(key), "{key} twice");
            for variable in variables {
                assert!(seen.insert(variable), "{variable} twice");
                assert!(!variable.ends_with("_PORT") && !variable.ends_with("_SERVICE_HOST"), "{variable}");
            }
            if let Some(flag) = flag {
                assert!(flag == format!("--{key}") || setting == Setting::Parameters, "{flag}");
                let own = format!("PGSET_{}", flag.trim_start_matches('-').to_uppercase().replace('-', "_"));
                assert_eq!(variables.first(), Some(&own.as_str()));
            }
            assert_eq!(setting.is_secret(), flag.is_none());
        }
    }
}
