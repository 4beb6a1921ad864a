//! Where a set's data lives, read from its claims and volumes, and which flags of `up` lead there again.

use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim};
use serde_json::Value;

use super::Observation;
use super::observation::CONTAINER;
use crate::manifests::Names;
use crate::settings::{Layout, Quantity, Settings, Storage};

/// Where the data lies, as far as the objects tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `None` when claims of both layouts are there, and either may hold the data.
    pub layout: Option<Layout>,
    /// `None` when the volume may not be read, or is of a kind that pgset does not make.
    pub storage: Option<Storage>,
    pub size: Option<Quantity>,
}

/// Whether there is a volume behind the claim: without one it never held any data.
fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).is_some_and(|volume| !volume.is_empty())
}

/// The claim whose volume says where the data lies; `None` when the set has none.
#[must_use]
pub fn telling_claim<'a>(names: &Names, claims: &'a [PersistentVolumeClaim]) -> Option<&'a PersistentVolumeClaim> {
    let bound = claims.iter().filter(|claim| is_bound(claim));
    let named = |name: &str| bound.clone().find(|claim| claim.metadata.name.as_deref() == Some(name));
    let member = || (0..u8::MAX).find_map(|ordinal| named(&names.member_claim(ordinal)));
    named(&names.shared_claim()).or_else(member)
}

/// Whether this claim is one of a set without a StorageClass: then its volume says more.
#[must_use]
pub fn is_static(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()) == Some("")
}

impl Home {
    /// Reads it; `None` when the set has no claim. `volume` is the telling claim's, where it is static and readable.
    #[must_use]
    pub fn read(names: &Names, claims: &[PersistentVolumeClaim], volume: Option<&Value>) -> Option<Self> {
        let claim = telling_claim(names, claims)?;
        let spec = claim.spec.as_ref();
        let prefix = format!("{}-{}-", names.claim_template(), names.set());
        let is_members = |claim: &&PersistentVolumeClaim| {
            let ordinal = claim.metadata.name.as_deref().and_then(|name| name.strip_prefix(&prefix));
            ordinal.is_some_and(|digits| digits.parse::<u8>().is_ok())
        };
        let shared = claim.metadata.name == Some(names.shared_claim());
        let layout = match (shared, claims.iter().any(|claim| is_bound(claim) && is_members(&claim))) {
            (true, true) => None,
            (true, false) => Some(Layout::Shared),
            (false, _) => Some(Layout::PerPod),
        };
        let storage = match spec.and_then(|spec| spec.storage_class_name.as_deref()) {
            Some("") => volume.and_then(behind),
            class => class.map(str::parse).transpose().ok().map(|class| Storage::Class { class }),
        };
        let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
        Some(Self { layout, storage, size: requests.and_then(|size| size.0.parse().ok()) })
    }

    /// The flags that lead `up` here where these settings lead elsewhere; none when they lead here. `default_class` is the
    /// cluster's.
    #[must_use]
    pub fn flags(&self, settings: Option<&Settings>, default_class: Option<&str>) -> Vec<String> {
        let mut flags = Vec::new();
        let kind = self.storage.as_ref().map(Storage::kind);
        let other_kind = kind != settings.map(|settings| settings.storage.kind());
        if let Some(storage) = &self.storage
            && !settings.is_some_and(|settings| leads_to(&settings.storage, storage, default_class))
        {
            if other_kind {
                flags.push(format!("--storage {}", storage.kind()));
            }
            match storage {
                Storage::Nfs { server, path } => {
                    flags.extend([format!("--nfs-server {server}"), format!("--nfs-path {}", word(path.as_str()))]);
                }
                Storage::HostPath { path } => flags.push(format!("--host-path {}", word(path.as_str()))),
                Storage::Class { class: Some(class) } => flags.push(format!("--storage-class {class}")),
                Storage::Class { class: None } => {}
            }
        }
        if let Some(layout) = self.layout
            && settings.is_none_or(|settings| settings.layout != layout || (other_kind && kind.is_some()))
        {
            flags.push(format!("--layout {layout}"));
        }
        flags
    }

    /// The flag for the claims' size, where the settings say another.
    #[must_use]
    pub fn size_flag(&self, settings: Option<&Settings>) -> Option<String> {
        let size = self.size.as_ref()?;
        let other = settings.is_none_or(|settings| settings.size.bytes() != size.bytes());
        other.then(|| format!("--size {size}"))
    }

    /// Whether only the class is another: the claims that are there are used all the same.
    #[must_use]
    pub fn differs_by_class_only(&self, settings: &Settings) -> bool {
        let classes =
            matches!((&self.storage, &settings.storage), (Some(Storage::Class { .. }), Storage::Class { .. }));
        classes && self.layout.is_none_or(|layout| layout == settings.layout)
    }

    /// In words: `hostpath /srv/pg, shared`.
    #[must_use]
    pub fn words(&self) -> String {
        let storage = match &self.storage {
            Some(Storage::Nfs { server, path }) => format!("nfs {server}:{path}"),
            Some(Storage::HostPath { path }) => format!("hostpath {path}"),
            Some(Storage::Class { class: Some(class) }) => format!("StorageClass {class}"),
            Some(Storage::Class { class: None }) => "the default StorageClass".to_owned(),
            None => "volumes that cannot be read".to_owned(),
        };
        match self.layout {
            Some(layout) => format!("{storage}, layout {layout}"),
            None => storage,
        }
    }
}

/// Whether the storage of some settings is the one the data is on.
fn leads_to(settings: &Storage, home: &Storage, default_class: Option<&str>) -> bool {
    match (settings, home) {
        (Storage::Class { class: None }, Storage::Class { class: Some(class) }) => {
            default_class == Some(class.as_str())
        }
        (Storage::Class { .. }, Storage::Class { class: None }) => true,
        _ => settings == home,
    }
}

/// What a static volume of pgset's stands for.
fn behind(volume: &Value) -> Option<Storage> {
    let spec = &volume["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(path) = text(&spec["nfs"]["path"]) {
        let server = text(&spec["nfs"]["server"])?.parse().ok()?;
        return Some(Storage::Nfs { server, path: path.parse().ok()? });
    }
    Some(Storage::HostPath { path: spec["hostPath"]["path"].as_str()?.parse().ok()? })
}

/// Flags for everything else a StatefulSet tells of its settings, where others were given.
#[must_use]
pub fn other_flags(seen: &Observation, settings: Option<&Settings>) -> Vec<String> {
    let Some(set) = &seen.stateful_set else { return Vec::new() };
    let template = set.spec.template.spec.as_ref();
    let containers = template.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let Some(container) = containers.iter().find(|container| container.name == CONTAINER) else { return Vec::new() };
    let mut flags = Vec::new();
    let mut differing = |flag: &str, live: Option<String>, given: Option<String>| {
        if let Some(live) = live
            && given.as_ref() != Some(&live)
        {
            flags.push(format!("{flag} {}", word(&live)));
        }
    };
    let given = |value: fn(&Settings) -> String| settings.map(value);
    let replicas = set.spec.replicas.filter(|replicas| *replicas > 0).map(|replicas| replicas.to_string());
    differing("--replicas", replicas, given(|settings| settings.replicas.get().to_string()));
    differing("--image", container.image.clone(), given(|settings| settings.image.to_string()));
    let uid = template.and_then(|spec| spec.security_context.as_ref()?.run_as_user).map(|uid| uid.to_string());
    differing("--uid", uid, given(|settings| settings.uid.to_string()));
    differing("--cpu", request(container, "cpu"), given(|settings| settings.cpu.to_string()));
    differing("--memory", request(container, "memory"), given(|settings| settings.memory.to_string()));
    differing("--database", variable(container, "PGSET_DATABASE"), given(|settings| settings.database.to_string()));
    differing("--user", variable(container, "PGSET_USER"), given(|settings| settings.user.to_string()));
    flags
}

fn request(container: &Container, resource: &str) -> Option<String> {
    let text = &container.resources.as_ref()?.requests.as_ref()?.get(resource)?.0;
    // In the form settings have: `0.5` is `500m`.
    Some(text.parse::<Quantity>().map_or_else(|_| text.clone(), |quantity| quantity.to_string()))
}

fn variable(container: &Container, name: &str) -> Option<String> {
    let variable = container.env.iter().flatten().find(|variable| variable.name == name)?;
    variable.value.as_ref().map(|value| value.replace("$$", "$"))
}

/// A value as a shell takes it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.:@%+=,-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        Names::new(&"pgset".parse().unwrap(), &"shop".parse().unwrap())
    }

    fn claim(name: &str, class: Option<&str>) -> PersistentVolumeClaim {
        let claim = json!({"metadata": {"name": name}, "spec": {"storageClassName": class,
            "volumeName": "v", "resources": {"requests": {"storage": "20Gi"}}}});
        serde_json::from_value(claim).unwrap()
    }

    fn settings(arguments: &[&str]) -> Settings {
        use clap::Parser;
        let line = ["pgset", "up", "-n", "shop"].iter().chain(arguments);
        let cli = crate::cli::Cli::parse_from(line);
        let crate::cli::Command::Up(up) = cli.command else { unreachable!() };
        let inputs = crate::settings::Inputs {
            common: &cli.common,
            flags: &up.settings,
            env: &std::iter::empty::<(String, String)>().collect(),
            file: &crate::settings::SettingsFile::default(),
            context: crate::settings::Context { namespace: None, machine: &crate::settings::ThisMachine },
        };
        crate::settings::resolve(&inputs).unwrap().settings
    }

    #[test]
    fn a_set_on_a_folder_is_found_again_by_its_flags() {
        let volume = json!({"spec": {"hostPath": {"path": "/srv/my pg"}}});
        let home = Home::read(&names(), &[claim("pgset-pvc", Some(""))], Some(&volume)).unwrap();
        assert_eq!(home.words(), "hostpath /srv/my pg, layout shared");
        let bare = settings(&[]);
        let flags = home.flags(Some(&bare), None);
        assert_eq!(flags, ["--storage hostpath", "--host-path '/srv/my pg'", "--layout shared"]);
        assert_eq!(home.size_flag(Some(&bare)).unwrap(), "--size 20Gi");
        let same = settings(&["--storage", "hostpath", "--host-path", "/srv/my pg", "--size", "20Gi"]);
        assert_eq!(home.flags(Some(&same), None), [] as [&str; 0]);
        assert_eq!(home.size_flag(Some(&same)), None);
        let elsewhere = settings(&["--storage", "hostpath"]);
        assert_eq!(home.flags(Some(&elsewhere), None), ["--host-path '/srv/my pg'"]);
        let layout = settings(&["--storage", "hostpath", "--host-path", "/srv/my pg", "--layout", "per-pod"]);
        assert_eq!(home.flags(Some(&layout), None), ["--layout shared"]);
    }

    #[test]
    fn a_set_on_nfs_is_found_again_by_its_flags() {
        let volume = json!({"spec": {"nfs": {"server": "10.0.0.5", "path": "/pg"}}});
        let home = Home::read(&names(), &[claim("pgdata-pgset-1", Some(""))], Some(&volume)).unwrap();
        let flags = home.flags(Some(&settings(&[])), None);
        assert_eq!(flags, ["--storage nfs", "--nfs-server 10.0.0.5", "--nfs-path /pg", "--layout per-pod"]);
        let other_server = settings(&["--storage", "nfs", "--nfs-server", "10.0.0.6", "--nfs-path", "/pg"]);
        let flags = home.flags(Some(&other_server), None);
        assert_eq!(flags, ["--nfs-server 10.0.0.5", "--nfs-path /pg", "--layout per-pod"]);
        assert_eq!(home.flags(None, None).len(), 4);
    }

    #[test]
    fn the_default_class_is_as_good_as_its_name() {
        let home = Home::read(&names(), &[claim("pgdata-pgset-0", Some("fast"))], None).unwrap();
        assert_eq!(home.flags(Some(&settings(&[])), Some("fast")), [] as [&str; 0]);
        assert_eq!(home.flags(Some(&settings(&[])), Some("slow")), ["--storage-class fast"]);
        assert!(home.differs_by_class_only(&settings(&["--storage-class", "slow"])));
        assert!(!home.differs_by_class_only(&settings(&["--layout", "shared"])));
        assert_eq!(home.flags(Some(&settings(&["--layout", "shared"])), Some("fast")), ["--layout per-pod"]);
    }

    #[test]
    fn what_cannot_be_known_is_no_difference() {
        assert_eq!(Home::read(&names(), &[claim("other", Some("fast"))], None), None);
        let mut unbound = claim("pgset-pvc", Some("nowhere"));
        unbound.spec.as_mut().unwrap().volume_name = None;
        assert_eq!(Home::read(&names(), &[unbound], None), None, "it never held any data");
        let unreadable = Home::read(&names(), &[claim("pgset-pvc", Some(""))], None).unwrap();
        assert_eq!(unreadable.storage, None);
        assert_eq!(unreadable.flags(Some(&settings(&["--layout", "shared"])), None), [] as [&str; 0]);
        let both = [claim("pgset-pvc", Some("fast")), claim("pgdata-pgset-0", Some("fast"))];
        assert_eq!(Home::read(&names(), &both, None).unwrap().layout, None);
    }

    #[test]
    fn the_rest_of_the_settings_is_read_from_the_statefulset() {
        let seen: Observation =
            serde_json::from_value(json!({"name": "pgset", "statefulSet": {"metadata": {}, "spec": {
            "replicas": 3, "selector": {}, "serviceName": "pgset", "template": {"spec": {"containers": [{
                "name": "pgset", "image": "docker.io/library/postgres:15",
                "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
                "env": [{"name": "PGSET_DATABASE", "value": "userdb"}, {"name": "PGSET_USER", "value": "me$$"}],
            }]}}}}}))
            .unwrap();
        let flags = other_flags(&seen, Some(&settings(&[])));
        let expected = ["--replicas 3", "--image docker.io/library/postgres:15", "--memory 1Gi", "--user 'me$'"];
        assert_eq!(flags, expected);
    }
}
