//! A checkout's objects as a set's: named and labelled as pgset's are, upgraded by the rules, with the settings that were
//! given in place of what the files say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Checkout;
use super::error::CheckoutError;
use super::files::{Document, Files, main_container};
use super::read::MANIFESTS;
use super::rules::{self, RULES, env_list, place, set_from};
use super::variables;
use crate::manifests::check::{self, Expected};
use crate::manifests::{Manifests, Names, Notes, Object, ObjectKind, Upgrade};
use crate::settings::{Layout, Setting, Settings, Source, Storage, StorageKind};

/// What an object of the checkout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    StatefulSet,
    Headless,
    Master,
    Replica,
    Claim,
    Volume,
    Account,
    Role,
    RoleBinding,
}

/// What the checkout is built with.
pub(super) struct Plan<'a> {
    pub settings: &'a Settings,
    pub sources: &'a BTreeMap<Setting, Source>,
    pub as_is: bool,
}

/// The checkout's objects where it has them, pgset's own for the rest.
pub(super) fn build(checkout: &Checkout, own: Manifests, plan: &Plan<'_>) -> Result<Manifests, CheckoutError> {
    let names = Names::new(&plan.settings.name, &plan.settings.namespace);
    let mut builder = Builder {
        checkout,
        plan,
        names: &names,
        notes: Notes::default(),
        fired: Vec::new(),
        used: Vec::new(),
        renamed: Vec::new(),
    };
    let mut objects = Vec::new();
    let mut volumes = builder.volumes().iter();
    for own in own.objects {
        let found = match own.kind {
            ObjectKind::PersistentVolume => volumes.next().map(|document| (Part::Volume, document)),
            _ => builder.find(&own)?,
        };
        match found {
            Some((part, document)) => {
                let object = builder.object(part, document, &own)?;
                let alias = builder.alias(part, document, &object);
                objects.push(object);
                objects.extend(alias);
            }
            None => objects.extend(builder.without(own)),
        }
    }
    let set = objects.iter().position(|object| object.kind == ObjectKind::StatefulSet).unwrap_or(objects.len());
    let labels = objects.get(set).map_or(Value::Null, |set| set.body["metadata"]["labels"].clone());
    let extras = checkout
        .files
        .extra
        .iter()
        .map(|extra| builder.extra(extra, &objects, &labels))
        .collect::<Result<Vec<_>, _>>()?;
    objects.splice(set..set, extras);
    Ok(Manifests { objects, notes: builder.finish() })
}

struct Builder<'a> {
    checkout: &'a Checkout,
    plan: &'a Plan<'a>,
    names: &'a Names,
    notes: Notes,
    /// Names of the rules that changed something.
    fired: Vec<&'static str>,
    used: Vec<*const Document>,
    /// Objects that the set calls otherwise.
    renamed: Vec<String>,
}

impl<'a> Builder<'a> {
    fn files(&self) -> &'a Files {
        &self.checkout.files
    }

    fn volumes(&self) -> &'a [Document] {
        match self.plan.settings.storage.kind() {
            StorageKind::Nfs | StorageKind::HostPath => self.checkout.volumes(Some(self.plan.settings.storage.kind())),
            StorageKind::Class => &[],
        }
    }

    /// The checkout's object of the same part as this one of pgset's own.
    fn find(&self, own: &Object) -> Result<Option<(Part, &'a Document)>, CheckoutError> {
        let files = self.files();
        let per_pod = self.plan.settings.layout == Layout::PerPod;
        let is_class = self.plan.settings.storage.kind() == StorageKind::Class;
        let one = |part: Part, document: &'a Option<Document>| document.as_ref().map(|document| (part, document));
        Ok(match own.kind {
            ObjectKind::StatefulSet => Some((Part::StatefulSet, files.stateful_set(per_pod)?)),
            ObjectKind::Service if own.name == self.names.service() => one(Part::Headless, &files.headless),
            ObjectKind::Service if own.name == self.names.master_service() => one(Part::Master, &files.master),
            ObjectKind::Service if own.name == self.names.replica_service() => one(Part::Replica, &files.replica),
            ObjectKind::PersistentVolumeClaim if is_class && files.class_claim.is_some() => {
                one(Part::Claim, &files.class_claim)
            }
            ObjectKind::PersistentVolumeClaim => {
                one(Part::Claim, &files.claim).or_else(|| one(Part::Claim, &files.class_claim))
            }
            ObjectKind::ServiceAccount => one(Part::Account, &files.account),
            ObjectKind::Role => one(Part::Role, &files.role),
            ObjectKind::RoleBinding => one(Part::RoleBinding, &files.binding),
            ObjectKind::Service
            | ObjectKind::PersistentVolume
            | ObjectKind::Secret
            | ObjectKind::ConfigMap
            | ObjectKind::PodDisruptionBudget => None,
        })
    }

    /// An object of the checkout as the set's.
    fn object(&mut self, part: Part, document: &'a Document, own: &Object) -> Result<Object, CheckoutError> {
        self.used.push(std::ptr::from_ref(document));
        let mut body = self.filled(document)?;
        shape(document, &body)?;
        if part == Part::StatefulSet {
            first_container(document, &mut body, &own.body)?;
        }
        self.identity(&mut body, own);
        self.given(part, document, &mut body, own);
        for rule in RULES.iter().filter(|rule| (rule.applies)(part) && (rule.always || !self.plan.as_is)) {
            let before = body.clone();
            rule.apply(&mut body, &own.body);
            if body != before && !self.fired.contains(&rule.name) {
                self.fired.push(rule.name);
            }
        }
        checked(document, body, own)
    }

    /// A Service under the name that the checkout gives it as well, for clients that know it by that: the later examples
    /// say `primary` where pgset says `master`. Another set than the checkout's own has no such clients.
    fn alias(&mut self, part: Part, document: &Document, object: &Object) -> Option<Object> {
        let set = self.files().set.as_ref().or(self.files().class_set.as_ref())?;
        let name = document.name().to_owned();
        let is_own_set = set.name() == self.names.set();
        if !matches!(part, Part::Master | Part::Replica) || !is_own_set || name == object.name || self.plan.as_is {
            return None;
        }
        self.notes.added.push(format!("Service {name} stays, as another name of {}", object.name));
        let mut alias = object.clone();
        *place(&mut alias.body, "/metadata/name") = name.clone().into();
        alias.name = name;
        Some(alias)
    }

    /// The document with every variable replaced.
    fn filled(&self, document: &Document) -> Result<Value, CheckoutError> {
        let mut body = document.body.clone();
        // Where a setting stands, a variable without a value is none: the setting has one.
        for pointer in SETTING_PLACES {
            let Some(Value::String(text)) = body.pointer_mut(pointer) else { continue };
            if variables::filled(text, &|name| self.value_of(name)).is_ok() {
                continue;
            }
            if pointer.ends_with("storageClassName") {
                // Here an empty text is a value, and means something else.
                rules::remove(&mut body, pointer);
            } else {
                text.clear();
            }
        }
        variables::fill(&document.file, &body, &|name| self.value_of(name))
    }

    fn value_of(&self, name: &str) -> Option<String> {
        let settings = self.plan.settings;
        let storage = &settings.storage;
        match (name, storage) {
            ("CCP_IMAGE_TAG", _) => settings.image.tag().map(str::to_owned),
            ("CCP_NAMESPACE", _) => Some(settings.namespace.to_string()),
            ("NFS_PATH", Storage::Nfs { path, .. }) => Some(path.to_string()),
            ("NFS_SERVER" | "LOCAL_IP" | "CCP_NFS_IP", Storage::Nfs { server, .. }) => Some(server.to_string()),
            ("CCP_STORAGE_CLASS", Storage::Class { class }) => class.as_ref().map(ToString::to_string),
            ("CCP_STORAGE_CAPACITY", _) => Some(settings.size.to_string()),
            ("PG_DATABASE", _) => Some(settings.database.to_string()),
            ("PG_USER", _) => Some(settings.user.to_string()),
            _ => None,
        }
        .or_else(|| self.checkout.value_of(name))
        .or_else(|| match (name, settings.layout) {
            ("CCP_STORAGE_MODE", Layout::Shared) => Some("ReadWriteMany".to_owned()),
            ("CCP_STORAGE_MODE", Layout::PerPod) => Some("ReadWriteOnce".to_owned()),
            _ => None,
        })
    }

    /// Names, namespace and labels: how pgset knows its own. The labels that the checkout has beside them stay.
    fn identity(&mut self, body: &mut Value, own: &Object) {
        let old = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if old != own.name {
            self.renamed.push(format!("{} {old} is {}", own.kind.as_str(), own.name));
        }
        *place(body, "/metadata/name") = own.name.clone().into();
        set_from(body, "/metadata/namespace", &own.body, "/metadata/namespace");
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            overlay(body, labels, &own.body);
        }
        let templates = body.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).map_or(0, Vec::len);
        if templates > 0 && own.body.pointer("/spec/volumeClaimTemplates/0").is_some() {
            overlay(body, "/spec/volumeClaimTemplates/0/metadata/labels", &own.body);
            set_from(
                body,
                "/spec/volumeClaimTemplates/0/metadata/name",
                &own.body,
                "/spec/volumeClaimTemplates/0/metadata/name",
            );
        }
        if own.kind == ObjectKind::StatefulSet {
            set_from(body, "/spec/serviceName", &own.body, "/spec/serviceName");
        }
        // What a Service selects are labels, and these are pgset's now; more than them may be asked for.
        if own.kind == ObjectKind::Service && body["spec"]["selector"].is_object() {
            for label in ["app", "name"] {
                let pointer = format!("/spec/selector/{label}");
                if body.pointer(&pointer).is_some() && own.body.pointer(&pointer).is_some() {
                    set_from(body, &pointer, &own.body, &pointer);
                }
            }
        }
    }

    /// Puts the settings into the places where the checkout says the same thing, and notes where it said otherwise.
    fn given(&mut self, part: Part, document: &Document, body: &mut Value, own: &Object) {
        let mut put = |pointer: &str, settings: &[Setting]| self.put(document, body, own, pointer, settings);
        match part {
            Part::StatefulSet => {
                let container = "/spec/template/spec/containers/0";
                put("/spec/replicas", &[Setting::Replicas]);
                put(&format!("{container}/image"), &[Setting::Image, Setting::CcpImageTag, Setting::CcpImagePrefix]);
                put("/spec/template/spec/securityContext/runAsUser", &[Setting::Uid]);
                for (pointer, setting) in [
                    ("requests/cpu", Setting::Cpu),
                    ("requests/memory", Setting::Memory),
                    ("limits/memory", Setting::Memory),
                ] {
                    put(&format!("{container}/resources/{pointer}"), &[setting]);
                }
                self.env(document, body, own);
                self.claims(document, body, own);
            }
            Part::Claim => {
                put("/spec/resources/requests/storage", &[Setting::Size]);
                put("/spec/accessModes", &[Setting::Layout]);
            }
            Part::Volume => self.volume(document, body, own),
            Part::Headless | Part::Master | Part::Replica | Part::Account | Part::Role | Part::RoleBinding => {}
        }
    }

    /// One place in which a setting stands: the setting's value where the checkout has the place, or a person gave it.
    fn put(&mut self, document: &Document, body: &mut Value, own: &Object, pointer: &str, settings: &[Setting]) {
        let source = settings.iter().find_map(|setting| self.plan.sources.get(setting));
        let is_given = source.is_some_and(Source::is_given);
        let Some(new) = own.body.pointer(pointer) else { return };
        let old = body.pointer(pointer).filter(|old| !old.is_null() && **old != "").cloned();
        if (old.is_none() && !is_given) || old.as_ref() == Some(new) {
            if old.is_none() && body.pointer(pointer).is_some() {
                *place(body, pointer) = new.clone();
            }
            return;
        }
        // Two places may say a setting differently, such as a request and a limit: what nobody gave stays as it is.
        if !is_given && matches!(settings, [Setting::Cpu | Setting::Memory | Setting::Layout | Setting::Uid]) {
            return;
        }
        *place(body, pointer) = new.clone();
        if let Some(old) = old {
            self.replaced(document, own, pointer, &old, new, source);
        }
    }

    fn replaced(
        &mut self,
        document: &Document,
        own: &Object,
        pointer: &str,
        old: &Value,
        new: &Value,
        source: Option<&Source>,
    ) {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.notes.replaced.push(format!(
            "{} {}: {} is {}{}, not {} as in {}",
            own.kind.as_str(),
            own.name,
            path(pointer),
            plain(new),
            by(source),
            plain(old),
            document.file
        ));
    }

    /// The variables that are settings, or lead to objects of the set.
    fn env(&mut self, document: &Document, body: &mut Value, own: &Object) {
        let list = "/spec/template/spec/containers/0/env";
        let of_own = |name: &str| {
            let variables = own.body.pointer(list).and_then(Value::as_array).into_iter().flatten();
            variables.into_iter().find(|variable| variable["name"] == name)?["value"].as_str().map(str::to_owned)
        };
        let settings = self.plan.settings;
        // Kubernetes expands $(NAME) in a variable's value; a doubled $ is a plain one.
        let escaped = |text: &str| text.replace('$', "$$");
        for (name, setting, new) in [
            ("PG_DATABASE", Some(Setting::Database), Some(escaped(settings.database.as_str()))),
            ("PG_USER", Some(Setting::User), Some(escaped(settings.user.as_str()))),
            ("PG_MASTER_HOST", None, of_own("PG_MASTER_HOST")),
            ("PG_PRIMARY_HOST", None, of_own("PG_PRIMARY_HOST")),
            ("PG_REPLICA_HOST", None, of_own("PG_REPLICA_HOST")),
            // In a file beside the password, so there is but one of them.
            ("PG_MASTER_USER", None, of_own("PG_MASTER_USER").filter(|_| !self.plan.as_is)),
            ("PG_PRIMARY_USER", None, of_own("PG_PRIMARY_USER").filter(|_| !self.plan.as_is)),
        ] {
            let index = env_list(body).iter().position(|variable| variable["name"] == name);
            let (Some(index), Some(new)) = (index, new) else { continue };
            let pointer = format!("{list}/{index}/value");
            // Without a value of its own it comes from elsewhere, as the person wants it.
            let Some(old) = body.pointer(&pointer).cloned() else { continue };
            let new = Value::String(new);
            if old == new {
                continue;
            }
            *place(body, &pointer) = new.clone();
            // That Services have other names is told with the names.
            if !name.ends_with("_HOST") {
                let source = setting.and_then(|setting| self.plan.sources.get(&setting));
                self.replaced(document, own, &pointer, &old, &new, source);
            }
        }
    }

    /// Where the members' data is: one claim, or a claim each.
    fn claims(&mut self, document: &Document, body: &mut Value, own: &Object) {
        let template = "/spec/volumeClaimTemplates/0";
        let source = [Setting::Layout, Setting::Storage].iter().find_map(|setting| self.plan.sources.get(setting));
        let volumes =
            body.pointer("/spec/template/spec/volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        let shared =
            volumes.iter().position(|volume| volume["persistentVolumeClaim"].is_object() && data(body, volume));
        let own_volumes = own.body.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
        let own_shared =
            own_volumes.and_then(|volumes| volumes.iter().find(|volume| volume["persistentVolumeClaim"].is_object()));
        let has_template = body.pointer(template).is_some();
        match (own_shared, own.body.pointer(template)) {
            (Some(own_shared), _) => {
                if has_template {
                    rules::remove(body, "/spec/volumeClaimTemplates");
                    self.notes.replaced.push(format!(
                        "StatefulSet {}: one claim for all members{}, not a claim each as in {}",
                        own.name,
                        by(source),
                        document.file
                    ));
                }
                let claim = "/persistentVolumeClaim/claimName";
                if let Some(index) = shared {
                    set_from(body, &format!("/spec/template/spec/volumes/{index}{claim}"), own_shared, claim);
                } else {
                    let list = place(body, "/spec/template/spec/volumes");
                    let mut items = list.as_array().cloned().unwrap_or_default();
                    items.push(own_shared.clone());
                    *list = Value::Array(items);
                }
            }
            (None, Some(own_template)) => {
                if let Some(index) = shared {
                    if let Some(Value::Array(items)) = body.pointer_mut("/spec/template/spec/volumes") {
                        items.remove(index);
                    }
                    self.notes.replaced.push(format!(
                        "StatefulSet {}: a claim for each member{}, not one for all as in {}",
                        own.name,
                        by(source),
                        document.file
                    ));
                }
                if has_template {
                    self.put(
                        document,
                        body,
                        own,
                        &format!("{template}/spec/resources/requests/storage"),
                        &[Setting::Size],
                    );
                    self.put(document, body, own, &format!("{template}/spec/accessModes"), &[Setting::Layout]);
                } else {
                    *place(body, "/spec/volumeClaimTemplates") = Value::Array(vec![own_template.clone()]);
                }
            }
            (None, None) => {}
        }
    }

    /// What is behind a volume, and how large it is.
    fn volume(&mut self, document: &Document, body: &mut Value, own: &Object) {
        let sources = [Setting::Storage, Setting::NfsServer, Setting::NfsPath, Setting::HostPath];
        let source =
            sources.iter().filter_map(|setting| self.plan.sources.get(setting)).max_by_key(|source| source.is_given());
        // The text of the file, since a variable in it may have no value where another kind of storage is used.
        let old = behind(&document.body);
        for kind in ["nfs", "hostPath"] {
            let pointer = format!("/spec/{kind}");
            match own.body.pointer(&pointer).and_then(Value::as_object) {
                None => rules::remove(body, &pointer),
                Some(members) => {
                    for member in members.keys().filter(|member| *member != "type") {
                        let pointer = format!("{pointer}/{member}");
                        set_from(body, &pointer, &own.body, &pointer);
                    }
                }
            }
        }
        if source.is_some_and(Source::is_given) {
            let new = behind(&own.body);
            let filled = variables::filled(&old, &|name| self.value_of(name)).ok();
            if filled.as_ref() != Some(&new) {
                self.note(format!("the volumes are on {new}{}, not on {old} as in {MANIFESTS}", by(source)));
            }
        }
        self.put(document, body, own, "/spec/accessModes", &[Setting::Layout]);
        // A claim binds to no volume that is smaller than itself.
        let capacity = "/spec/capacity/storage";
        let bytes = body
            .pointer(capacity)
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<crate::settings::Quantity>().ok());
        if bytes.is_none_or(|capacity| capacity.bytes() < self.plan.settings.size.bytes()) {
            let old = body.pointer(capacity).cloned().filter(|old| *old != "");
            set_from(body, capacity, &own.body, capacity);
            if let (Some(old), Some(new)) = (old, own.body.pointer(capacity)) {
                let (old, new) = (old.as_str().unwrap_or_default(), new.as_str().unwrap_or_default());
                let source = by(self.plan.sources.get(&Setting::Size));
                self.note(format!(
                    "the volumes have {new}{source}, as much as the claim asks for, not {old} as in {MANIFESTS}"
                ));
            }
        }
    }

    /// Notes a replacement, once for all volumes.
    fn note(&mut self, line: String) {
        if !self.notes.replaced.contains(&line) {
            self.notes.replaced.push(line);
        }
    }

    /// An object that the checkout has not.
    fn without(&mut self, own: Object) -> Option<Object> {
        let (rule, why) = match own.kind {
            ObjectKind::Role | ObjectKind::RoleBinding => {
                ("rbac", RULES.iter().find(|rule| rule.name == "rbac").map_or("", |rule| rule.why))
            }
            ObjectKind::PodDisruptionBudget => {
                ("disruption-budget", "a node that is drained takes one member at a time")
            }
            ObjectKind::ConfigMap => ("config", "PostgreSQL's settings and the members' scripts"),
            ObjectKind::PersistentVolume
            | ObjectKind::PersistentVolumeClaim
            | ObjectKind::ServiceAccount
            | ObjectKind::Secret
            | ObjectKind::Service
            | ObjectKind::StatefulSet => {
                self.notes.added.push(format!(
                    "{} {} is pgset's own: {MANIFESTS} has none",
                    own.kind.as_str(),
                    own.name
                ));
                return Some(own);
            }
        };
        if self.plan.as_is {
            return None;
        }
        if !self.notes.upgrades.iter().any(|upgrade| upgrade.name == rule) && rule != "rbac" {
            self.notes.upgrades.push(Upgrade { name: rule, why });
        }
        if rule == "rbac" && !self.fired.contains(&rule) {
            self.fired.push(rule);
        }
        Some(own)
    }

    /// An object that is no part of the example, taken in as it is.
    fn extra(&mut self, document: &Document, own: &[Object], labels: &Value) -> Result<Object, CheckoutError> {
        let mut body = variables::fill(&document.file, &document.body, &|name| self.value_of(name))?;
        shape(document, &body)?;
        *place(&mut body, "/apiVersion") = document.kind.api_version().into();
        *place(&mut body, "/metadata/namespace") = self.names.namespace().into();
        let ours = serde_json::json!({"metadata": {"labels": labels}});
        overlay(&mut body, "/metadata/labels", &ours);
        let name = document.name().to_owned();
        let is_ours = |own: &Object| own.kind == document.kind && own.name == name;
        if own.iter().any(is_ours) || (document.kind == ObjectKind::Secret && name == self.names.passwords()) {
            return Err(document.error(".metadata.name", "is the name of an object that pgset makes itself"));
        }
        self.notes.added.push(format!("{} {name} of {} is taken in", document.kind.as_str(), document.file));
        let own =
            Object { kind: document.kind, namespace: Some(self.names.namespace().to_owned()), name, body: Value::Null };
        checked(document, body, &own)
    }

    fn finish(mut self) -> Notes {
        // In the table's order, whatever object came first.
        let fired = RULES.iter().filter(|rule| self.fired.contains(&rule.name));
        let mut upgrades: Vec<Upgrade> = fired.map(|rule| Upgrade { name: rule.name, why: rule.why }).collect();
        upgrades.append(&mut self.notes.upgrades);
        let files = self.files();
        let known = [&files.set, &files.class_set, &files.headless, &files.master, &files.replica, &files.claim];
        let more = [&files.class_claim, &files.account, &files.role, &files.binding];
        let singles = known.into_iter().chain(more).flatten();
        let all = singles.chain(&files.nfs_volumes).chain(&files.host_volumes);
        let unused = all.filter(|document| !self.used.contains(&std::ptr::from_ref(*document)));
        let unused: Vec<String> = unused.map(Document::short).collect();
        self.notes.left_out.clone_from(&files.left_out);
        if !unused.is_empty() {
            let unused = unused.join(", ");
            self.notes.left_out.push(format!("left out, since these settings have no part for it: {unused}"));
        }
        if !self.renamed.is_empty() {
            let (set, namespace) = (self.names.set(), self.names.namespace());
            let renamed = self.renamed.join(", ");
            self.notes.replaced.insert(0, format!("as the set {set} in namespace {namespace}: {renamed}"));
        }
        self.notes.upgrades = upgrades;
        self.notes
    }
}

/// What is behind a volume.
fn behind(volume: &Value) -> String {
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
    match (text("/spec/nfs/server"), text("/spec/nfs/path"), text("/spec/hostPath/path")) {
        (Some(server), Some(path), _) => format!("nfs {server}:{path}"),
        (_, _, Some(path)) => format!("hostPath {path}"),
        _ => "something else".to_owned(),
    }
}

fn by(source: Option<&Source>) -> String {
    source.map_or_else(String::new, |source| format!(" ({source})"))
}

/// Where settings stand in the examples' objects.
const SETTING_PLACES: [&str; 10] = [
    "/metadata/name",
    "/metadata/namespace",
    "/spec/nfs/server",
    "/spec/nfs/path",
    "/spec/hostPath/path",
    "/spec/capacity/storage",
    "/spec/resources/requests/storage",
    "/spec/storageClassName",
    "/spec/volumeClaimTemplates/0/spec/storageClassName",
    "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
];

/// Whether a volume is where the data is mounted.
fn data(body: &Value, volume: &Value) -> bool {
    let mounts = body.pointer("/spec/template/spec/containers/0/volumeMounts").and_then(Value::as_array);
    mounts.into_iter().flatten().any(|mount| mount["name"] == volume["name"] && mount["mountPath"] == "/pgdata")
}

/// Puts the container that runs PostgreSQL first and calls it as every command of pgset does.
fn first_container(document: &Document, body: &mut Value, own: &Value) -> Result<(), CheckoutError> {
    let index = main_container(document)?;
    let name = own.pointer("/spec/template/spec/containers/0/name").cloned().unwrap_or(Value::Null);
    if let Some(Value::Array(containers)) = body.pointer_mut("/spec/template/spec/containers") {
        let main = containers.remove(index);
        containers.insert(0, main);
        if let Some(other) = containers.iter().skip(1).position(|container| container["name"] == name) {
            let at = format!(".spec.template.spec.containers[{}].name", other + 1);
            return Err(document.error(&at, "is the name of the container that runs PostgreSQL"));
        }
        containers[0]["name"] = name;
    }
    Ok(())
}

/// pgset's own labels over those of the checkout.
fn overlay(body: &mut Value, pointer: &str, own: &Value) {
    for (key, value) in own.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
        let key = key.replace('~', "~0").replace('/', "~1");
        *place(body, &format!("{pointer}/{key}")) = value.clone();
    }
}

/// What the rules go by: where an object or a list has to be, there is one or nothing.
fn shape(document: &Document, body: &Value) -> Result<(), CheckoutError> {
    let object = |pointer: &str| match body.pointer(pointer) {
        None | Some(Value::Object(_) | Value::Null) => Ok(()),
        Some(_) => Err(document.error(&path(pointer), "expected an object")),
    };
    let list = |pointer: &str| match body.pointer(pointer) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(items)) => match items.iter().position(|item| !item.is_object()) {
            None => Ok(()),
            Some(index) => Err(document.error(&format!("{}[{index}]", path(pointer)), "expected an object")),
        },
        Some(_) => Err(document.error(&path(pointer), "expected a list")),
    };
    let container = "/spec/template/spec/containers/0";
    for pointer in [
        "/metadata",
        "/metadata/labels",
        "/spec",
        "/spec/selector",
        "/spec/capacity",
        "/spec/nfs",
        "/spec/hostPath",
        "/spec/resources",
        "/spec/resources/requests",
        "/spec/template",
        "/spec/template/metadata",
        "/spec/template/metadata/labels",
        "/spec/template/metadata/annotations",
        "/spec/template/spec",
        "/spec/template/spec/securityContext",
    ] {
        object(pointer)?;
    }
    for pointer in
        ["/spec/ports", "/spec/volumeClaimTemplates", "/spec/template/spec/volumes", "/spec/template/spec/containers"]
    {
        list(pointer)?;
    }
    if body.pointer("/spec/volumeClaimTemplates/1").is_some() {
        return Err(document.error(".spec.volumeClaimTemplates", "expected one claim a member, found several"));
    }
    let containers = body.pointer("/spec/template/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    for index in 0..containers {
        let container = container.replace("/0", &format!("/{index}"));
        for member in ["resources", "resources/requests", "resources/limits", "securityContext", "lifecycle"] {
            object(&format!("{container}/{member}"))?;
        }
        for member in ["env", "volumeMounts", "ports"] {
            list(&format!("{container}/{member}"))?;
        }
    }
    Ok(())
}

/// The object, when Kubernetes knows every field of it.
fn checked(document: &Document, body: Value, own: &Object) -> Result<Object, CheckoutError> {
    let Object { kind, namespace, name, .. } = own;
    let expected = Expected { kind: *kind, namespace: namespace.as_deref(), name };
    check::object(&body.to_string(), &expected).map_err(|problem| document.error("", problem.message))
}

/// A JSON pointer as people write it.
pub(super) fn path(pointer: &str) -> String {
    let mut text = String::new();
    for step in pointer.split('/').skip(1) {
        if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{step}]"));
        } else {
            text.push_str(&format!(".{}", step.replace("~1", "/").replace("~0", "~")));
        }
    }
    text
}
