//! A crunchy-containers checkout, whose own manifests pgset uses.
//!
//! Its files are data: nothing of it is ever run. What its `examples/envvars.sh` exports and what its manifests say are
//! settings, below everything that a person gives to pgset itself; its objects, upgraded by named rules, take the place of
//! pgset's own. Pure but for [`read`].

mod build;
mod envvars;
mod error;
mod files;
mod read;
mod rules;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

pub use error::CheckoutError;

use self::build::{Plan, build};
use self::envvars::{Envvars, Exported};
use self::files::{Document, Files, env_value, main_container};
use self::read::{ENVVARS, Texts};
use super::Manifests;
use crate::set::observation::CONTAINER;
use crate::settings::{CHECKOUT_VARIABLES, Env, Setting, Settings, Source, Sourced, StorageKind};

/// A checkout as it was read.
#[derive(Clone, Debug)]
pub struct Checkout {
    files: Files,
    envvars: Envvars,
    /// The environment's variables that manifests may name.
    outside: BTreeMap<&'static str, String>,
    /// Files in the folder of manifests that are none.
    others: Vec<String>,
}

/// A checkout with what it is built with.
#[derive(Clone, Debug)]
pub struct Base {
    pub checkout: Checkout,
    /// Where the settings came from.
    pub sources: BTreeMap<Setting, Source>,
    /// Whether only what no cluster does without is changed.
    pub as_is: bool,
}

impl Base {
    /// The checkout's objects in place of pgset's `own`.
    ///
    /// # Errors
    ///
    /// An object that is not what it should be, or a variable without a value.
    pub(super) fn build(&self, own: Manifests, settings: &Settings) -> Result<Manifests, CheckoutError> {
        build(&self.checkout, own, &Plan { settings, sources: &self.sources, as_is: self.as_is })
    }
}

impl Base {
    /// The pods as the checkout's manifest has them, before any rule; the container that runs PostgreSQL bears the name that
    /// pgset knows it by.
    ///
    /// # Errors
    ///
    /// A manifest that is not what it should be.
    pub fn pod(&self, per_pod: bool) -> Result<PodSpec, CheckoutError> {
        const POD: &str = "/spec/template/spec";
        let set = self.checkout.files.stateful_set(per_pod)?;
        let mut pod = set.body.pointer(POD).cloned().unwrap_or_default();
        pod["containers"][main_container(set)?]["name"] = CONTAINER.into();
        serde_json::from_value(pod).map_err(|error| set.error(&build::path(POD), error.to_string()))
    }
}

impl Checkout {
    /// Reads the checkout at `root`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// A file that cannot or must not be read, or is not what it should be.
    pub fn load(root: &Path, env: &Env) -> Result<Option<Self>, CheckoutError> {
        read::read(root)?.map(|texts| Self::new(&texts, env)).transpose()
    }

    fn new(texts: &Texts, env: &Env) -> Result<Self, CheckoutError> {
        let outside = variables::known().filter_map(|name| Some((name, env.text(name)?))).collect();
        let envvars =
            texts.envvars.as_deref().map(|text| envvars::parse(text, &|name| env.text(name))).unwrap_or_default();
        Ok(Self { files: Files::new(texts)?, envvars, outside, others: texts.others.clone() })
    }

    /// The lines of `examples/envvars.sh` that were not looked at, one text each.
    #[must_use]
    pub fn ignored(&self) -> Vec<String> {
        self.envvars.ignored.iter().map(|(line, reason)| format!("{ENVVARS}:{line} is ignored: it {reason}")).collect()
    }

    /// What lies beside the manifests and is none.
    #[must_use]
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// The settings that `examples/envvars.sh` gives.
    #[must_use]
    pub fn exported(&self) -> BTreeMap<Setting, Sourced<String>> {
        let mut found = BTreeMap::new();
        for setting in Setting::ALL.into_iter().filter(|setting| *setting != Setting::BuildBase) {
            let variables = setting.variables().iter().filter(|name| !name.starts_with("PGSET_"));
            for name in variables {
                if let Some(export) = self.envvars.exports.get(*name)
                    && let Exported::Text(value) = &export.value
                    && !value.is_empty()
                {
                    let source = Source::Checkout(format!("{ENVVARS}:{}", export.line));
                    found.entry(setting).or_insert(Sourced { value: value.clone(), source });
                }
            }
        }
        found
    }

    /// The settings that the manifests say, for a set on this kind of storage, and those of `examples/envvars.sh`.
    ///
    /// # Errors
    ///
    /// A manifest that is not what it should be.
    pub fn settings(
        &self,
        storage: Option<StorageKind>,
        per_pod: bool,
    ) -> Result<BTreeMap<Setting, Sourced<String>>, CheckoutError> {
        let mut facts = Facts { checkout: self, found: self.exported() };
        facts.of_set(self.files.stateful_set(per_pod)?)?;
        facts.of_storage(storage, per_pod);
        Ok(facts.found)
    }

    /// The value of a variable that manifests may name: the environment's, else the file's.
    fn value_of(&self, name: &str) -> Option<String> {
        if let Some(value) = self.outside.get(name) {
            return Some(value.clone());
        }
        match &self.envvars.exports.get(name)?.value {
            Exported::Text(text) if !text.is_empty() => Some(text.clone()),
            Exported::Text(_) | Exported::MachineAddress => None,
        }
    }

    /// The volumes the manifests bring: those on this kind of storage, else those that there are.
    fn volumes(&self, storage: Option<StorageKind>) -> &[Document] {
        let Files { nfs_volumes, host_volumes, .. } = &self.files;
        let (first, second) = match storage {
            Some(StorageKind::HostPath) => (host_volumes, nfs_volumes),
            // The later examples bring both, and told by a variable which to use.
            None if !nfs_volumes.is_empty() && !host_volumes.is_empty() && self.value_of("CCP_NFS_IP").is_none() => {
                (host_volumes, nfs_volumes)
            }
            Some(StorageKind::Nfs | StorageKind::Class) | None => (nfs_volumes, host_volumes),
        };
        if first.is_empty() { second } else { first }
    }
}

/// What the manifests say about settings.
struct Facts<'a> {
    checkout: &'a Checkout,
    found: BTreeMap<Setting, Sourced<String>>,
}

impl Facts<'_> {
    fn of_set(&mut self, set: &Document) -> Result<(), CheckoutError> {
        let container = format!("/spec/template/spec/containers/{}", main_container(set)?);
        self.fact(Setting::Name, set, "/metadata/name");
        self.fact(Setting::Namespace, set, "/metadata/namespace");
        self.fact(Setting::Replicas, set, "/spec/replicas");
        self.fact(Setting::Uid, set, "/spec/template/spec/securityContext/runAsUser");
        self.fact(Setting::Cpu, set, &format!("{container}/resources/requests/cpu"));
        self.fact(Setting::Memory, set, &format!("{container}/resources/requests/memory"));
        self.fact(Setting::Memory, set, &format!("{container}/resources/limits/memory"));
        self.image(set, &format!("{container}/image"));
        for (setting, names) in [
            (Setting::Database, &["PG_DATABASE"][..]),
            (Setting::User, &["PG_USER"]),
            (Setting::UserPassword, &["PG_PASSWORD"]),
            (Setting::SuperuserPassword, &["PG_ROOT_PASSWORD"]),
            (Setting::ReplicationPassword, &["PG_MASTER_PASSWORD", "PG_PRIMARY_PASSWORD"]),
        ] {
            for name in names {
                if let Some(value) = env_value(set, name) {
                    self.put(setting, set, &format!("{container}/env"), value, &format!(" {name}"));
                }
            }
        }
        // A variable of a namespace names it for the whole example.
        if let Some(value) = self.checkout.value_of("CCP_NAMESPACE") {
            let source = match self.checkout.envvars.exports.get("CCP_NAMESPACE") {
                Some(export) if !self.checkout.outside.contains_key("CCP_NAMESPACE") => {
                    Source::Checkout(format!("{ENVVARS}:{}", export.line))
                }
                _ => Source::Env("CCP_NAMESPACE"),
            };
            self.found.insert(Setting::Namespace, Sourced { value, source });
        }
        Ok(())
    }

    /// The image in the settings' terms: prefix and tag where it is the example's own, else the whole.
    fn image(&mut self, set: &Document, pointer: &str) {
        let Some(image) = set.text(pointer).map(str::to_owned) else { return };
        match image.split_once("/crunchy-postgres:") {
            Some((prefix, tag)) if !prefix.is_empty() => {
                for (setting, part) in [(Setting::CcpImagePrefix, prefix), (Setting::CcpImageTag, tag)] {
                    self.put(setting, set, pointer, part, "");
                }
            }
            _ => self.put(Setting::Image, set, pointer, &image, ""),
        }
    }

    fn of_storage(&mut self, storage: Option<StorageKind>, per_pod: bool) {
        let checkout = self.checkout;
        let files = &checkout.files;
        let volumes = checkout.volumes(storage);
        let set = if per_pod {
            files.class_set.as_ref().or(files.set.as_ref())
        } else {
            files.set.as_ref().or(files.class_set.as_ref())
        };
        let has_templates = set.is_some_and(|set| set.body.pointer("/spec/volumeClaimTemplates").is_some());
        let claim = files.claim.as_ref().or(files.class_claim.as_ref());
        let class_claim = files.class_claim.as_ref().or(files.claim.as_ref());
        let is_class =
            storage == Some(StorageKind::Class) || (storage.is_none() && (has_templates || volumes.is_empty()));
        if let (Some(set), true) = (set, has_templates) {
            let template = "/spec/volumeClaimTemplates/0/spec";
            self.put(Setting::Layout, set, "/spec/volumeClaimTemplates", "per-pod", "");
            self.fact(Setting::Size, set, &format!("{template}/resources/requests/storage"));
            self.fact(Setting::StorageClass, set, &format!("{template}/storageClassName"));
        } else if let Some(claim) = if is_class { class_claim } else { claim } {
            if !is_class || !per_pod {
                self.put(Setting::Layout, claim, "", "shared", "");
            }
            self.fact(Setting::Size, claim, "/spec/resources/requests/storage");
            self.fact(Setting::StorageClass, claim, "/spec/storageClassName");
        }
        if is_class {
            if let Some(set) = set.filter(|_| storage.is_none()) {
                self.put(Setting::Storage, set, "", StorageKind::Class.as_str(), "");
            }
        } else if let Some(volume) = volumes.first() {
            let is_nfs = volume.body["spec"]["nfs"].is_object();
            let kind = if is_nfs { StorageKind::Nfs } else { StorageKind::HostPath };
            self.put(Setting::Storage, volume, "", kind.as_str(), "");
            if is_nfs {
                self.fact(Setting::NfsServer, volume, "/spec/nfs/server");
                self.fact(Setting::NfsPath, volume, "/spec/nfs/path");
            } else {
                self.fact(Setting::HostPath, volume, "/spec/hostPath/path");
            }
        }
    }

    /// What stands at a place of a manifest, as a setting.
    fn fact(&mut self, setting: Setting, document: &Document, pointer: &str) {
        match document.body.pointer(pointer) {
            Some(Value::String(text)) => self.put(setting, document, pointer, text, ""),
            Some(Value::Number(number)) => self.put(setting, document, pointer, &number.to_string(), ""),
            // What is neither is told when the object is checked.
            _ => {}
        }
    }

    fn put(&mut self, setting: Setting, document: &Document, pointer: &str, text: &str, what: &str) {
        // A variable that is this setting itself says nothing new.
        if variables::alone(text).is_some_and(|name| setting.variables().contains(&name)) {
            return;
        }
        // A variable without a value leaves the setting to its default, or to whoever misses it.
        let Ok(value) = variables::filled(text, &|name| self.checkout.value_of(name)) else { return };
        if value.is_empty() {
            return;
        }
        let place = format!("{}{what}", build::path(pointer));
        let source = match variables::alone(text)
            .and_then(|name| Some((name, CHECKOUT_VARIABLES.into_iter().find(|known| *known == name)?)))
        {
            Some((name, known)) if self.checkout.outside.contains_key(name) => Source::Env(known),
            _ if place.is_empty() => Source::Checkout(document.file.clone()),
            _ => Source::Checkout(format!("{}: {place}", document.file)),
        };
        self.found.insert(setting, Sourced { value, source });
    }
}
