//! `pgset down`: lists what goes and what stays, asks, and deletes in an order that cannot dead-lock.
//!
//! StatefulSet → pods gone → Services and the rest → with `--delete-data`: the folders, claims gone, volumes. The 2017
//! example deleted the claim first, whose protection then waited for the pods for ever.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use super::app::App;
use super::gone::members_gone;
use super::home::way_back;
use super::state;
use crate::cli::{DownArgs, ResultFormat};
use crate::cluster::{Applier, Cleaner, Cluster, Deleter, look, sets_named};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::{Names, Object, ObjectKind, State};
use crate::report::document;
use crate::report::text::and;
use crate::set::Observation;
use crate::set::oneshot::{container_of, template_of};
use crate::set::plan::foreign_owner;
use crate::set::promote::POD_NAME;

/// How often a deletion in progress is looked at again, where no watch tells.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The set's claims and volumes, and what is behind them.
struct Storage {
    claims: Vec<Object>,
    /// PersistentVolumes of ours: cluster-wide, with the set's labels.
    volumes: Vec<Object>,
    /// Where the data lies, for people.
    places: Vec<String>,
    /// Claims whose folders nobody deletes with the volume: hostPath and NFS.
    folders: Vec<String>,
    /// Volumes of a StorageClass that keeps them.
    retained: Vec<String>,
}

/// `kind: Removal` of `pgset/v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemovalView {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    namespace: String,
    deleted: Vec<String>,
    stays: Vec<String>,
}

/// Removes the set.
///
/// # Errors
/// Not confirmed, blocked by something that is named, or the API server refuses.
pub async fn run(app: &App, args: DownArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let limit = target.timeout.get();
    let removal = Removal { app, cluster: &cluster, names: &names, delete_data: args.delete_data };
    let unfinished = |_: Elapsed| {
        Failure::new(
            Kind::TimedOut,
            format!(
                "removing {} took longer than {}",
                names.set(),
                crate::report::text::age(super::app::patience(target.timeout))
            ),
        )
        .hint(format!("go on: {} --timeout 1h", app.command(removal.verb(), &names)))
    };
    let Some(found) = timeout(limit, removal.look()).await.map_err(unfinished)?? else { return Ok(()) };
    // The time is the cluster's: whoever thinks about the answer may take as long as that takes.
    removal.confirm(&found).await?;
    timeout(limit, removal.carry_out(found, args.output)).await.map_err(unfinished)?
}

/// What there is to remove.
struct Found {
    seen: Observation,
    known: State,
    storage: Storage,
    /// What goes, but for claims and volumes.
    objects: Vec<Object>,
    stays: Vec<String>,
    /// The notes about the set stay, and should say who its primary is.
    keeps_notes: bool,
}

struct Removal<'a> {
    app: &'a App,
    cluster: &'a Cluster,
    names: &'a Names,
    delete_data: bool,
}

impl Removal<'_> {
    /// Looks for what is there; `None`, said, where nothing is.
    async fn look(&self) -> Outcome<Option<Found>> {
        let (set, namespace) = (self.names.set(), self.names.namespace());
        let seen = look(self.cluster, namespace, set).await?;
        let known = state::read(self.cluster, self.names).await?;
        let storage = self.storage(&seen).await?;
        let (mut objects, mut foreign) = self.ours(self.objects()).await?;
        let (keep, not_ours) = self.ours(self.memory()).await?;
        foreign.extend(not_ours);
        for (object, owner) in &foreign {
            self.app.ui.warn(&format!("{object} belongs to {owner} and stays"));
        }
        if self.delete_data {
            objects.extend(keep.iter().cloned());
        }
        let with_data = if self.delete_data { storage.claims.len() + storage.volumes.len() } else { 0 };
        if objects.is_empty() && with_data == 0 && seen.pods.is_empty() {
            self.nothing(&storage).await?;
            return Ok(None);
        }
        let stays = self.stays(&storage, &keep);
        let keeps_notes = !self.delete_data && keep.iter().any(|object| object.kind == ObjectKind::ConfigMap);
        Ok(Some(Found { seen, known, storage, objects, stays, keeps_notes }))
    }

    async fn carry_out(&self, found: Found, output: ResultFormat) -> Outcome {
        let Found { seen, known, storage, mut objects, stays, keeps_notes } = found;
        self.app.when_interrupted(
            "interrupted: what is deleted stays deleted, the rest is as it was",
            format!("go on: {}", self.app.command(self.verb(), self.names)),
        );
        // Read before anything goes: afterwards only the claims would tell.
        let way_back =
            if self.delete_data { String::new() } else { way_back(self.app, self.cluster, self.names, &seen).await? };
        if keeps_notes {
            self.remember_primary(&known).await?;
        }
        let mut deleted = Vec::new();
        self.stateful_set_and_pods(&mut objects, &mut deleted).await?;
        self.all(&objects, &mut deleted).await?;
        if self.delete_data {
            self.data(&storage, &seen, &known, &mut deleted).await?;
        }
        self.report(output, deleted, stays, &way_back)
    }

    /// What was asked for, for whoever has to ask again.
    fn verb(&self) -> &'static str {
        if self.delete_data { "down --delete-data" } else { "down" }
    }

    /// Notes who the primary is: the Service that says it goes, and the next `up` has to lead it there again.
    async fn remember_primary(&self, known: &State) -> Outcome {
        let service = self.object(ObjectKind::Service, self.names.master_service());
        let live = Applier::new(self.cluster).live(&service).await?;
        let primary = live.as_ref().and_then(|live| live["spec"]["selector"][POD_NAME].as_str());
        match primary.map(str::to_owned) {
            Some(primary) if known.primary.as_ref() != Some(&primary) => {
                let noted = State { primary: Some(primary), ..known.clone() };
                Ok(state::write(self.cluster, self.names, &noted).await?)
            }
            _ => Ok(()),
        }
    }

    async fn nothing(&self, storage: &Storage) -> Outcome {
        let (set, namespace) = (self.names.set(), self.names.namespace());
        self.app.ui.say(&format!("there is no set {set} in namespace {namespace}: nothing to remove"));
        for place in &storage.places {
            self.app.ui.say(&format!("its data is still there: {place}"));
        }
        if storage.places.is_empty() {
            for other in sets_named(self.cluster, set).await {
                self.app.ui.hint(&format!("there is one in namespace {other}: -n {other}"));
            }
        }
        Ok(())
    }

    fn object(&self, kind: ObjectKind, name: impl Into<String>) -> Object {
        Object { kind, namespace: Some(self.names.namespace().to_owned()), name: name.into(), body: Value::Null }
    }

    /// What goes in every case, the StatefulSet first.
    fn objects(&self) -> Vec<Object> {
        let names = self.names;
        vec![
            self.object(ObjectKind::StatefulSet, names.statefulset()),
            self.object(ObjectKind::PodDisruptionBudget, names.disruption_budget()),
            self.object(ObjectKind::Service, names.service()),
            self.object(ObjectKind::Service, names.master_service()),
            self.object(ObjectKind::Service, names.replica_service()),
            self.object(ObjectKind::ConfigMap, names.config()),
            self.object(ObjectKind::RoleBinding, names.role()),
            self.object(ObjectKind::Role, names.role()),
            self.object(ObjectKind::ServiceAccount, names.service_account()),
        ]
    }

    /// What belongs to the data: without the passwords nobody can log in to it again.
    fn memory(&self) -> Vec<Object> {
        vec![
            self.object(ObjectKind::Secret, self.names.passwords()),
            self.object(ObjectKind::ConfigMap, self.names.state()),
        ]
    }

    /// Those objects that exist and are this set's, and those that exist and are somebody else's.
    async fn ours(&self, objects: Vec<Object>) -> Outcome<(Vec<Object>, Vec<(String, String)>)> {
        let applier = Applier::new(self.cluster);
        let live = join_all(objects.iter().map(async |object| match applier.live(object).await {
            // Only a Crunchy image that labels pods has them; who may not see them did not make any.
            Err(failure)
                if failure.is_forbidden() && matches!(object.kind, ObjectKind::Role | ObjectKind::RoleBinding) =>
            {
                Ok(None)
            }
            live => live,
        }))
        .await;
        let (mut ours, mut foreign) = (Vec::new(), Vec::new());
        for (object, live) in objects.into_iter().zip(live) {
            match live?.map(|live| foreign_owner(self.names.set(), &live)) {
                None => {}
                Some(None) => ours.push(object),
                Some(Some(owner)) => foreign.push((short(&object), owner)),
            }
        }
        Ok((ours, foreign))
    }

    async fn storage(&self, seen: &Observation) -> Outcome<Storage> {
        let mut storage = Storage {
            claims: Vec::new(),
            volumes: Vec::new(),
            places: Vec::new(),
            folders: Vec::new(),
            retained: Vec::new(),
        };
        let applier = Applier::new(self.cluster);
        for claim in &seen.claims {
            let Some(name) = claim.metadata.name.clone() else { continue };
            let object = self.object(ObjectKind::PersistentVolumeClaim, &name);
            let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
            let volume = match &bound {
                Some(volume) => applier.live(&volume_object(volume)).await.or_else(unreadable)?,
                None => None,
            };
            let (place, shared) = place(&name, bound.as_deref(), volume.as_ref());
            storage.places.push(place);
            if shared {
                storage.folders.push(name);
            }
            if let Some(volume) = volume
                && volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
                && foreign_owner(self.names.set(), &volume).is_some()
            {
                storage.retained.push(bound.unwrap_or_default());
            }
            storage.claims.push(object);
        }
        storage.volumes = self.own_volumes().await?;
        Ok(storage)
    }

    /// The volumes that the manifests brought, by name; a set on a StorageClass has none.
    async fn own_volumes(&self) -> Outcome<Vec<Object>> {
        let candidates: Vec<Object> = (1..=32).map(|number| volume_object(&self.names.volume(number))).collect();
        let applier = Applier::new(self.cluster);
        let first = applier.live(&candidates[0]).await.or_else(unreadable)?;
        if first.is_none() {
            return Ok(Vec::new());
        }
        let live = join_all(candidates.iter().map(|volume| applier.live(volume))).await;
        let mut ours = Vec::new();
        for (volume, live) in candidates.into_iter().zip(live) {
            if let Some(live) = live?
                && foreign_owner(self.names.set(), &live).is_none()
                && live["spec"]["claimRef"]["namespace"].as_str() == Some(self.names.namespace())
            {
                ours.push(volume);
            }
        }
        Ok(ours)
    }

    fn stays(&self, storage: &Storage, memory: &[Object]) -> Vec<String> {
        if self.delete_data {
            return storage
                .retained
                .iter()
                .map(|volume| format!("PersistentVolume {volume}, which its StorageClass retains"))
                .collect();
        }
        storage
            .places
            .iter()
            .cloned()
            .chain(memory.iter().map(short))
            .chain(storage.volumes.iter().map(short))
            .collect()
    }

    /// Says what goes and what stays, and asks.
    async fn confirm(&self, found: &Found) -> Outcome {
        let Found { seen, storage, objects, stays, .. } = found;
        let pods = seen.pods.len();
        let ui = &self.app.ui;
        let (set, namespace) = (self.names.set(), self.names.namespace());
        let mut goes: Vec<String> = objects.iter().map(short).collect();
        if pods > 0 {
            goes.insert(0, format!("{pods} member{}", if pods == 1 { "" } else { "s" }));
        }
        ui.say(&format!("goes:  {}", goes.join(", ")));
        if self.delete_data {
            let data = storage.claims.iter().chain(&storage.volumes).map(short);
            ui.say(&format!(
                "DATA:  {}",
                data.chain(storage.places.iter().cloned()).collect::<Vec<_>>().join("\n       ")
            ));
        }
        for line in stays {
            ui.say(&format!("stays: {line}"));
        }
        if self.app.common.yes {
            return Ok(());
        }
        if self.delete_data {
            let question = format!(
                "all data of {set} in namespace {namespace} will be gone for good; type the set's name to go on:"
            );
            let instead = format!("say it in words: {}", self.app.command("down --delete-data --yes", self.names));
            return ui.confirm(&question, |answer| answer == set, &instead).await;
        }
        let question = format!("remove {set} from namespace {namespace}? [y/N]");
        let yes = |answer: &str| answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes");
        let instead = format!("answer beforehand: {}", self.app.command("down --yes", self.names));
        ui.confirm(&question, yes, &instead).await
    }

    async fn stateful_set_and_pods(&self, objects: &mut Vec<Object>, deleted: &mut Vec<String>) -> Outcome {
        let sets: Vec<Object> = objects.extract_if(.., |object| object.kind == ObjectKind::StatefulSet).collect();
        self.all(&sets, deleted).await?;
        members_gone(self.app, self.cluster, self.names, 0).await
    }

    /// Deletes objects of which none waits for another.
    async fn all(&self, objects: &[Object], deleted: &mut Vec<String>) -> Outcome {
        let deleter = Deleter { cluster: self.cluster };
        let done = join_all(objects.iter().map(|object| deleter.delete(object))).await;
        for (object, done) in objects.iter().zip(done) {
            if done? {
                self.app.ui.say(&format!("deleted {}", short(object)));
                deleted.push(short(object));
            }
        }
        Ok(())
    }

    /// Folders, claims, volumes, in this order.
    async fn data(&self, storage: &Storage, seen: &Observation, known: &State, deleted: &mut Vec<String>) -> Outcome {
        if !storage.folders.is_empty() {
            self.folders(storage, seen, known, deleted).await?;
        }
        self.all(&storage.claims, deleted).await?;
        let deleter = Deleter { cluster: self.cluster };
        for claim in &storage.claims {
            let mut told = false;
            let began = Timestamp::now();
            while let Some(finalizers) = deleter.remains(claim).await? {
                if !told && Timestamp::now().duration_since(began).as_secs() >= 5 {
                    told = true;
                    let pods = deleter.pods_using(self.names.namespace(), &claim.name).await?;
                    let who = if pods.is_empty() {
                        format!("finalizers {}", and(&finalizers))
                    } else {
                        format!("pods {}", and(&pods))
                    };
                    self.app.ui.warn(&format!("{} is still held by {who}", short(claim)));
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        self.all(&storage.volumes, deleted).await
    }

    async fn folders(
        &self,
        storage: &Storage,
        seen: &Observation,
        known: &State,
        deleted: &mut Vec<String>,
    ) -> Outcome {
        // As the members ran, on the nodes they ran on; of a set without a StatefulSet image and user are noted.
        let live = seen.stateful_set.as_ref().map(|set| json!(set.spec.template));
        let noted = || Some(template_of(known.image.as_ref()?, known.uid?));
        let Some(template) = live.filter(|live| container_of(live)["image"].is_string()).or_else(noted) else {
            self.app.ui.warn(&format!(
                "the members' folders stay: nothing says which image can remove them; they are {}",
                storage.places.join("; ")
            ));
            return Ok(());
        };
        let cleaner = Cleaner { cluster: self.cluster, namespace: self.names.namespace(), set: self.names.set() };
        let left = cleaner.remove_folders(&template, &storage.folders).await?;
        if left.is_empty() {
            self.app.ui.say("deleted the members' folders");
            deleted.push("the members' folders".to_owned());
        }
        for line in left {
            self.app.ui.warn(&format!("could not be removed: {line}"));
        }
        Ok(())
    }

    fn report(&self, output: ResultFormat, deleted: Vec<String>, stays: Vec<String>, way_back: &str) -> Outcome {
        let (name, namespace) = (self.names.set().to_owned(), self.names.namespace().to_owned());
        if output == ResultFormat::Text {
            let data = if self.delete_data { "its data is deleted" } else { "its data stays" };
            self.app.ui.data(&format!("{name} is gone from namespace {namespace}; {data}\n"))?;
            if !self.delete_data {
                self.app.ui.hint(&format!("bring it back with everything in it: {way_back}"));
            }
            return Ok(());
        }
        let view = RemovalView { api_version: "pgset/v1", kind: "Removal", name, namespace, deleted, stays };
        self.app.ui.data(&document(&view, output == ResultFormat::Yaml)?)
    }
}

fn short(object: &Object) -> String {
    format!("{} {}", object.kind.as_str(), object.name)
}

fn volume_object(name: &str) -> Object {
    Object { kind: ObjectKind::PersistentVolume, namespace: None, name: name.to_owned(), body: Value::Null }
}

/// Volumes are cluster-wide: who may not read them still may remove the set.
fn unreadable(failure: crate::cluster::ApiFailure) -> Outcome<Option<Value>> {
    if failure.is_forbidden() { Ok(None) } else { Err(failure.into()) }
}

/// Where a claim's data lies, and whether deleting the claim and volume leaves it there.
fn place(claim: &str, bound: Option<&str>, volume: Option<&Value>) -> (String, bool) {
    let claim = format!("PersistentVolumeClaim {claim}");
    let (Some(bound), Some(volume)) = (bound, volume) else {
        return (bound.map_or_else(|| claim.clone(), |bound| format!("{claim} (volume {bound})")), false);
    };
    let spec = &volume["spec"];
    if let Some(path) = spec["nfs"]["path"].as_str() {
        let server = spec["nfs"]["server"].as_str().unwrap_or("?");
        return (format!("{claim}: {server}:{path}"), true);
    }
    // A provisioner's hostPath (kind, k3s) is its own to remove; it says so by its reclaim policy.
    if let Some(path) = spec["hostPath"]["path"].as_str() {
        return (format!("{claim}: {path} on the node"), spec["persistentVolumeReclaimPolicy"] == "Retain");
    }
    (format!("{claim} (volume {bound})"), false)
}
