//! Which of a checkout's documents is which object of a set: told by kind and by what they say of each other, not by file
//! name, which changed from version to version.

use serde_json::Value;

use super::error::CheckoutError;
use super::read::{MANIFESTS, Texts};
use super::variables;
use crate::manifests::ObjectKind;
use crate::yaml;

/// One object as the checkout has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// The file relative to the checkout; with several documents in it, the object as well.
    pub file: String,
    pub kind: ObjectKind,
    /// The variables still in it.
    pub body: Value,
}

impl Document {
    pub fn name(&self) -> &str {
        self.body["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Kind, name and file, for lists.
    pub fn short(&self) -> String {
        let file = self.file.split_once(" (").map_or(self.file.as_str(), |(file, _)| file);
        let file = file.rsplit('/').next().unwrap_or(file);
        format!("{} {} ({file})", self.kind.as_str(), self.name())
    }

    pub fn error(&self, at: &str, problem: impl Into<String>) -> CheckoutError {
        CheckoutError::new(&self.file, at, problem)
    }

    /// A text of the document, such as `/spec/serviceName`.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }
}

/// A checkout's objects by what they are for.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// With the one claim of all members.
    pub set: Option<Document>,
    /// With a claim for each member, from a StorageClass: the 2017 example's `set.json.dynamic`.
    pub class_set: Option<Document>,
    pub headless: Option<Document>,
    pub master: Option<Document>,
    pub replica: Option<Document>,
    pub claim: Option<Document>,
    pub class_claim: Option<Document>,
    pub nfs_volumes: Vec<Document>,
    pub host_volumes: Vec<Document>,
    pub account: Option<Document>,
    pub role: Option<Document>,
    pub binding: Option<Document>,
    /// Objects that are no part of the example but of kinds pgset applies.
    pub extra: Vec<Document>,
    /// What is not used, each with the reason.
    pub left_out: Vec<String>,
}

impl Files {
    /// Sorts the documents of these texts.
    ///
    /// # Errors
    ///
    /// A file that is no manifest, an object that is not what it should be, or two for the same part.
    pub fn new(texts: &Texts) -> Result<Self, CheckoutError> {
        let mut left_out = Vec::new();
        let mut documents = Vec::new();
        for (file, text) in &texts.manifests {
            for (label, value) in read(file, text)? {
                variables::check(&label, &value)?;
                match known(&label, value)? {
                    Ok(document) => documents.push(document),
                    Err(reason) => left_out.push(reason),
                }
            }
        }
        Sorter { files: Self::empty(left_out) }.sort(documents)
    }

    fn empty(left_out: Vec<String>) -> Self {
        Self {
            set: None,
            class_set: None,
            headless: None,
            master: None,
            replica: None,
            claim: None,
            class_claim: None,
            nfs_volumes: Vec::new(),
            host_volumes: Vec::new(),
            account: None,
            role: None,
            binding: None,
            extra: Vec::new(),
            left_out,
        }
    }

    /// The StatefulSet for claims of this kind, or the other where there is but one.
    pub fn stateful_set(&self, per_pod: bool) -> Result<&Document, CheckoutError> {
        let (first, second) = if per_pod { (&self.class_set, &self.set) } else { (&self.set, &self.class_set) };
        let found = first.as_ref().or(second.as_ref());
        found.ok_or_else(|| CheckoutError::new(MANIFESTS, "", "expected a StatefulSet in one of the files, found none"))
    }
}

/// The documents of a file, each with what to call it in messages.
fn read(file: &str, text: &str) -> Result<Vec<(String, Value)>, CheckoutError> {
    let is_yaml = [".yaml", ".yml"].iter().any(|end| file.ends_with(end));
    let documents = if is_yaml { yaml::documents(text) } else { yaml::json_documents(&variables::quoted(text)) };
    let documents = documents.map_err(|error| {
        let line = if error.line > 0 { format!(":{}", error.line) } else { String::new() };
        CheckoutError::new(file, line, error.message)
    })?;
    let mut all = Vec::new();
    for document in documents {
        // A list of objects is what `kubectl get -o json` writes.
        match (document["kind"].as_str(), &document["items"]) {
            (Some("List"), Value::Array(items)) => all.extend(items.iter().cloned()),
            _ => all.push(document),
        }
    }
    if all.is_empty() {
        return Err(CheckoutError::new(file, "", "expected an object, found none"));
    }
    let several = all.len() > 1;
    let label =
        |(index, value): (usize, &Value)| match (several, value["kind"].as_str(), value["metadata"]["name"].as_str()) {
            (false, ..) => file.to_owned(),
            (true, Some(kind), Some(name)) => format!("{file} ({kind} {name})"),
            (true, ..) => format!("{file} (document {})", index + 1),
        };
    Ok(all.iter().enumerate().map(|one| (label(one), one.1.clone())).collect())
}

/// A document as an object of a kind pgset applies, or why it is left out.
fn known(file: &str, body: Value) -> Result<Result<Document, String>, CheckoutError> {
    let error = |at: &str, problem: String| Err(CheckoutError::new(file, at, problem));
    if !body.is_object() {
        return error("", "expected an object".to_owned());
    }
    for (pointer, at) in [("/apiVersion", ".apiVersion"), ("/kind", ".kind"), ("/metadata/name", ".metadata.name")] {
        if body.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
            return error(at, "expected a text".to_owned());
        }
    }
    let (kind, name) =
        (body["kind"].as_str().unwrap_or_default(), body["metadata"]["name"].as_str().unwrap_or_default());
    let Some(known) = ObjectKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        return Ok(Err(format!("{kind} {name} in {file} is left out: pgset applies no objects of this kind")));
    };
    let version = body["apiVersion"].as_str().unwrap_or_default();
    let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
    if group != known.group() {
        return error(".apiVersion", format!("expected {}, as today's clusters know a {kind}", known.api_version()));
    }
    Ok(Ok(Document { file: file.to_owned(), kind: known, body }))
}

struct Sorter {
    files: Files,
}

impl Sorter {
    fn sort(mut self, documents: Vec<Document>) -> Result<Files, CheckoutError> {
        // The StatefulSet says what the others are called.
        let (sets, others): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|one| one.kind == ObjectKind::StatefulSet);
        for set in sets {
            let has_templates = set.body.pointer("/spec/volumeClaimTemplates").is_some_and(|list| !list.is_null());
            put(if has_templates { &mut self.files.class_set } else { &mut self.files.set }, set)?;
        }
        let links = Links::of(&self.files)?;
        for one in others {
            self.put(one, &links)?;
        }
        Ok(self.files)
    }

    fn put(&mut self, one: Document, links: &Links) -> Result<(), CheckoutError> {
        let files = &mut self.files;
        match one.kind {
            ObjectKind::Service => match links.service(&one) {
                Some(Part::Headless) => put(&mut files.headless, one),
                Some(Part::Master) => put(&mut files.master, one),
                Some(Part::Replica) => put(&mut files.replica, one),
                None => put_extra(files, one),
            },
            ObjectKind::PersistentVolumeClaim if links.claim.as_deref().is_none_or(|claim| claim == one.name()) => {
                let has_class = one.text("/spec/storageClassName").is_some_and(|class| !class.is_empty());
                put(if has_class { &mut files.class_claim } else { &mut files.claim }, one)
            }
            ObjectKind::PersistentVolume if one.body["spec"]["nfs"].is_object() => {
                files.nfs_volumes.push(one);
                Ok(())
            }
            ObjectKind::PersistentVolume if one.body["spec"]["hostPath"].is_object() => {
                files.host_volumes.push(one);
                Ok(())
            }
            ObjectKind::PersistentVolume => Err(one.error(".spec", "expected a volume on nfs or hostPath").hinted(
                "other storage comes by a StorageClass: remove the file, and give --storage class --storage-class NAME",
            )),
            ObjectKind::ServiceAccount if links.account.as_deref().is_none_or(|account| account == one.name()) => {
                put(&mut files.account, one)
            }
            ObjectKind::Role => put(&mut files.role, one),
            ObjectKind::RoleBinding => put(&mut files.binding, one),
            ObjectKind::PersistentVolumeClaim
            | ObjectKind::ServiceAccount
            | ObjectKind::Secret
            | ObjectKind::ConfigMap
            | ObjectKind::PodDisruptionBudget
            | ObjectKind::StatefulSet => put_extra(files, one),
        }
    }
}

fn put(place: &mut Option<Document>, one: Document) -> Result<(), CheckoutError> {
    match place {
        None => {
            *place = Some(one);
            Ok(())
        }
        Some(first) => {
            let (kind, name) = (one.kind.as_str(), one.name());
            Err(one
                .error("", format!("{kind} {name} has the same part as the one in {}", first.file))
                .hinted("leave one of the two in the folder"))
        }
    }
}

fn put_extra(files: &mut Files, one: Document) -> Result<(), CheckoutError> {
    if let Some(first) = files.extra.iter().find(|other| other.kind == one.kind && other.name() == one.name()) {
        return Err(one.error("", format!("{} {} is in {} already", one.kind.as_str(), one.name(), first.file)));
    }
    files.extra.push(one);
    Ok(())
}

#[derive(Clone, Copy)]
enum Part {
    Headless,
    Master,
    Replica,
}

/// What the StatefulSets call the other objects.
#[derive(Default)]
struct Links {
    headless: Option<String>,
    master: Option<String>,
    replica: Vec<String>,
    claim: Option<String>,
    account: Option<String>,
}

impl Links {
    fn of(files: &Files) -> Result<Self, CheckoutError> {
        let mut links = Self::default();
        for set in [&files.set, &files.class_set].into_iter().flatten() {
            main_container(set)?;
            let text = |pointer: &str| set.text(pointer).map(str::to_owned);
            let env = |name: &str| env_value(set, name).map(str::to_owned);
            let template = "/spec/template";
            links.headless = links.headless.take().or_else(|| text("/spec/serviceName"));
            links.master = links.master.take().or_else(|| env("PG_PRIMARY_HOST")).or_else(|| env("PG_MASTER_HOST"));
            links.replica.extend(env("PG_REPLICA_HOST"));
            links.replica.extend(text(&format!("{template}/metadata/labels/name")));
            let account = |name: &str| text(&format!("{template}/spec/{name}"));
            links.account =
                links.account.take().or_else(|| account("serviceAccountName")).or_else(|| account("serviceAccount"));
            links.claim = links.claim.take().or_else(|| claim_of(set));
        }
        Ok(links)
    }

    fn service(&self, service: &Document) -> Option<Part> {
        let name = service.name();
        let is = |link: &Option<String>| link.as_deref() == Some(name);
        let ends = |words: &[&str]| words.iter().any(|word| name.ends_with(word));
        if is(&self.headless) || (self.headless.is_none() && service.text("/spec/clusterIP") == Some("None")) {
            Some(Part::Headless)
        } else if is(&self.master) || (self.master.is_none() && ends(&["-master", "-primary"])) {
            Some(Part::Master)
        } else if self.replica.iter().any(|replica| replica == name)
            || (self.replica.is_empty() && ends(&["-replica", "-replicas"]))
        {
            Some(Part::Replica)
        } else {
            None
        }
    }
}

/// Where in a pod's containers the one that runs PostgreSQL is.
pub(super) fn main_container(set: &Document) -> Result<usize, CheckoutError> {
    let at = ".spec.template.spec.containers";
    let containers = set.body.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let containers = containers.filter(|list| !list.is_empty()).ok_or_else(|| set.error(at, "expected containers"))?;
    if let Some(index) = containers.iter().position(|container| !container.is_object()) {
        return Err(set.error(&format!("{at}[{index}]"), "expected a container"));
    }
    let has_mode = |container: &Value| {
        container["env"].as_array().is_some_and(|env| env.iter().any(|variable| variable["name"] == "PG_MODE"))
    };
    let is_crunchy =
        |container: &Value| container["image"].as_str().is_some_and(|image| image.contains("crunchy-postgres"));
    let found = containers.iter().position(has_mode).or_else(|| containers.iter().position(is_crunchy));
    Ok(found.unwrap_or(0))
}

/// A plain value of the PostgreSQL container's environment.
pub(super) fn env_value<'a>(set: &'a Document, name: &str) -> Option<&'a str> {
    let index = main_container(set).ok()?;
    let env = set.body.pointer(&format!("/spec/template/spec/containers/{index}/env"))?.as_array()?;
    env.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

/// The claim that the members share.
fn claim_of(set: &Document) -> Option<String> {
    let volumes = set.body.pointer("/spec/template/spec/volumes")?.as_array()?;
    let claim = |volume: &Value| volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
    let pgdata = volumes.iter().find(|volume| volume["name"] == "pgdata").and_then(claim);
    pgdata.or_else(|| volumes.iter().find_map(claim))
}
