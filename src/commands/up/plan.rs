//! What `up` would do, tried as a server-side dry run. Changes nothing.

use futures::future::join_all;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use crate::cluster::{ApiFailure, Applied, Applier, ClassesOnce, Cluster, all_volumes, describe, look};
use crate::commands::app::App;
use crate::commands::state;
use crate::error::{Failure, Outcome};
use crate::manifests::{Context, Manifests, Names, Object, ObjectKind, Templates, render};
use crate::set::plan::{
    Change, SmallClaim, change, foreign_owner, keep_replicas, recreated, rolling_order, small_claims,
};
use crate::set::promote::POD_NAME;
use crate::set::volumes::{Retake, Unfit, neighbour, usable};
use crate::settings::{Layout, Quantity, Settings, Storage};

/// Everything `up` would do to a set.
pub struct Plan {
    pub objects: Vec<Planned>,
    /// Members' claims that are asked for more.
    pub grow: Vec<SmallClaim>,
    /// What stays as it is although the settings say otherwise, and why.
    pub stays: Vec<String>,
    /// The member that the Service of the primary leads to.
    pub primary: String,
    /// Members in all once this is done.
    pub replicas: u8,
}

/// One object with what applying it will do.
pub struct Planned {
    pub object: Object,
    pub change: Change,
    pub live: Option<Value>,
    /// The object as it would be.
    pub result: Value,
    /// A volume that has to be taken back from a claim that is gone.
    pub retake: Option<Retake>,
}

impl Planned {
    fn new(object: Object, change: Change, live: Option<Value>, result: Value) -> Self {
        Self { object, change, live, result, retake: None }
    }
}

impl Plan {
    pub fn stateful_set(&self) -> Option<&Planned> {
        self.objects.iter().find(|one| one.object.kind == ObjectKind::StatefulSet)
    }

    /// Whether the set has not run this image so far.
    pub fn image_is_new(&self) -> bool {
        let image = |body: &Value| body.pointer("/spec/template/spec/containers/0/image").cloned();
        self.stateful_set().is_some_and(|set| set.live.as_ref().and_then(image) != image(&set.object.body))
    }

    /// Whether the set has a StatefulSet that is to have no members.
    pub fn is_stopped(&self) -> bool {
        self.stateful_set().and_then(|set| set.live.as_ref()).is_some_and(|live| live["spec"]["replicas"] == 0)
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.grow.is_empty() && self.objects.iter().all(|one| one.change == Change::Unchanged && one.retake.is_none())
    }

    /// The volumes that have to be taken back from claims that are gone.
    pub fn retakes(&self) -> impl Iterator<Item = &Retake> {
        self.objects.iter().filter_map(|one| one.retake.as_ref())
    }

    /// The members that would be restarted, in the order of Kubernetes.
    pub fn rolling(&self) -> Vec<String> {
        let rolls = |path: &String| path.starts_with(".spec.template");
        match self.stateful_set() {
            Some(Planned { live: Some(live), change, object, .. }) if change.paths().iter().any(rolls) => {
                rolling_order(&object.name, live)
            }
            _ => Vec::new(),
        }
    }
}

/// A claim that keeps its size.
struct Kept {
    words: String,
    /// Its size, where that is a limit: the capacity of a volume that no class made is none.
    room: Option<Quantity>,
}

/// Why an object cannot be planned.
pub enum Refusal {
    Api(ApiFailure),
    Foreign { object: String, owner: String },
    Unfit { volume: String, unfit: Unfit },
    Failed(Failure),
}

impl From<ApiFailure> for Refusal {
    fn from(failure: ApiFailure) -> Self {
        Self::Api(failure)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Api(failure) => failure.into(),
            Refusal::Foreign { object, owner } => {
                Self::refused(format!("{object} exists and is not this set's: it belongs to {owner}"))
                    .hint("choose another name with --name, another namespace with -n, or remove that object first")
            }
            Refusal::Unfit { volume, unfit } => {
                let refused = Self::refused(unfit.words(&volume));
                unfit.hints(&volume).into_iter().fold(refused, Self::hint)
            }
            Refusal::Failed(failure) => failure,
        }
    }
}

/// Whether there may be a database already. Folders outlive every object; what a StorageClass provides is gone with its
/// claims, and `claims` are those that exist.
pub fn may_have_data(settings: &Settings, claims: &[PersistentVolumeClaim]) -> bool {
    !claims.is_empty() || !matches!(settings.storage, Storage::Class { .. })
}

/// Tries everything at the same time. `claims` are those that exist.
pub async fn plan(
    cluster: &Cluster,
    classes: &ClassesOnce<'_>,
    names: &Names,
    settings: &Settings,
    templates: &Templates,
    manifests: Manifests,
    claims: &[PersistentVolumeClaim],
) -> Result<Plan, Refusal> {
    let (applier, may_have_data) = (Applier::new(cluster), may_have_data(settings, claims));
    let planner = Planner { cluster, classes, applier, names, settings, templates, claims, may_have_data };
    planner.plan(manifests).await
}

struct Planner<'a> {
    cluster: &'a Cluster,
    classes: &'a ClassesOnce<'a>,
    applier: Applier<'a>,
    names: &'a Names,
    settings: &'a Settings,
    templates: &'a Templates,
    claims: &'a [PersistentVolumeClaim],
    /// Whether there may be a database already, whose primary the notes name.
    may_have_data: bool,
}

impl Planner<'_> {
    async fn plan(&self, manifests: Manifests) -> Result<Plan, Refusal> {
        let mut kept = Vec::new();
        let mut planned = Vec::new();
        for one in join_all(manifests.objects.into_iter().map(|object| self.one(object))).await {
            let (one, stays) = one?;
            planned.push(one);
            kept.extend(stays);
        }
        let (grow, too_small) = self.growth().await?;
        kept.extend(too_small);
        let mut context = self.live_context(&planned).await?;
        // PostgreSQL's limits follow the room there is, not the room that was asked for.
        context.room = kept.iter().filter_map(|kept| kept.room.clone()).min_by_key(Quantity::bytes);
        if context != Context::new(self.settings) {
            self.again(&context, &mut planned).await?;
        }
        let stays = kept.into_iter().map(|kept| kept.words).collect();
        Ok(Plan { objects: planned, grow, stays, primary: context.primary, replicas: context.replicas })
    }

    /// One object, and what of it has to stay as it is.
    async fn one(&self, object: Object) -> Result<(Planned, Option<Kept>), Refusal> {
        let dry_run = self.applier.dry_run(&object).await;
        // Only an object that exists can refuse a change to itself, so a refusal is looked into as well.
        let exists = match &dry_run {
            Ok(applied) => applied.exists,
            // A claim's new size is forbidden rather than invalid.
            Err(failure) if failure.is_forbidden() => object.kind == ObjectKind::PersistentVolumeClaim,
            Err(failure) => failure.code == Some(422) || failure.is_conflict(),
        };
        let live = if exists { self.applier.live(&object).await? } else { None };
        let Some(live) = live else {
            let result = dry_run?.result;
            return Ok((Planned::new(object, Change::Created, None, result), None));
        };
        if object.kind == ObjectKind::PersistentVolume {
            return Ok((self.volume(object, live, dry_run).await?, None));
        }
        if let Some(owner) = foreign_owner(self.names.set(), &live) {
            return Err(Refusal::Foreign { object: describe(&object), owner });
        }
        match object.kind {
            ObjectKind::StatefulSet => Ok((self.stateful_set(object, live).await?, None)),
            ObjectKind::PersistentVolumeClaim => self.claim(object, live, dry_run).await,
            _ => {
                let result = dry_run?.result;
                Ok((Planned::new(object, change(Some(&live), &result), Some(live), result), None))
            }
        }
    }

    /// A volume that exists. What it leads to never changes, so whether it fits comes before what the API server says.
    async fn volume(
        &self,
        mut object: Object,
        live: Value,
        mut dry_run: Result<Applied, ApiFailure>,
    ) -> Result<Planned, Refusal> {
        // Whether its folder has to be there is a part of that: a volume made without the check stays so.
        let check = "/spec/hostPath/type";
        if dry_run.is_err()
            && live.pointer("/spec/hostPath").is_some()
            && live.pointer(check) != object.body.pointer(check)
        {
            if let Some(Value::Object(host_path)) = object.body.pointer_mut("/spec/hostPath") {
                host_path.remove("type");
                host_path.extend(live.pointer(check).map(|kept| ("type".to_owned(), kept.clone())));
            }
            dry_run = self.applier.dry_run(&object).await;
        }
        let usable = usable(self.names.set(), &object.body, &live, self.claims);
        let retake = usable.map_err(|unfit| Refusal::Unfit { volume: object.name.clone(), unfit })?;
        let result = dry_run?.result;
        Ok(Planned { retake, ..Planned::new(object, change(Some(&live), &result), Some(live), result) })
    }

    async fn stateful_set(&self, mut object: Object, live: Value) -> Result<Planned, Refusal> {
        keep_replicas(&mut object, &live);
        if !live["metadata"]["deletionTimestamp"].is_null() {
            // What is applied to an object that is being deleted goes with it: it is made again when it is gone.
            let result = self.applier.dry_run_anew(&object).await?;
            return Ok(Planned::new(object, Change::Recreated(Vec::new()), Some(live), result));
        }
        let failure = match self.applier.dry_run(&object).await {
            Ok(Applied { result, .. }) => {
                return Ok(Planned::new(object, change(Some(&live), &result), Some(live), result));
            }
            Err(failure) if failure.code == Some(422) => failure,
            Err(failure) => return Err(failure.into()),
        };
        let made = self.applier.dry_run_anew(&object).await?;
        let (change, result) = recreated(&live, &made).ok_or(Refusal::Api(failure))?;
        Ok(Planned::new(object, change, Some(live), result))
    }

    /// The shared claim. A size that it cannot have is no reason to refuse the rest.
    async fn claim(
        &self,
        mut object: Object,
        live: Value,
        dry_run: Result<Applied, ApiFailure>,
    ) -> Result<(Planned, Option<Kept>), Refusal> {
        let size = |object: &Value| object["spec"]["resources"]["requests"]["storage"].clone();
        let (result, note) = match dry_run {
            Ok(applied) => (applied.result, None),
            Err(failure) if size(&object.body) != size(&live) => {
                object.body["spec"]["resources"] = live["spec"]["resources"].clone();
                // Refused all the same: then it was not the size.
                let Ok(applied) = self.applier.dry_run(&object).await else { return Err(failure.into()) };
                let kept = size(&live).as_str().unwrap_or_default().to_owned();
                let words = format!("{} stays at {kept}: {}", short(&object), failure.message);
                // Smaller than it is a claim cannot become, and what is larger than asked for is room enough.
                let room = kept.parse().ok().filter(|kept: &Quantity| kept.bytes() < self.settings.size.bytes());
                (applied.result, Some(Kept { words, room }))
            }
            Err(failure) => return Err(failure.into()),
        };
        Ok((Planned::new(object, change(Some(&live), &result), Some(live), result), note))
    }

    /// A set that runs decides some things itself: how many members it was scaled to, and which of them is the primary.
    async fn live_context(&self, planned: &[Planned]) -> Result<Context, Refusal> {
        let mut context = Context::new(self.settings);
        let live_of = |kind: ObjectKind, name: &str| {
            let found = planned.iter().find(|one| one.object.kind == kind && one.object.name == name);
            found.and_then(|one| one.live.as_ref())
        };
        let set = live_of(ObjectKind::StatefulSet, self.names.statefulset());
        let service = live_of(ObjectKind::Service, &self.names.master_service());
        match set.and_then(|set| set["spec"]["replicas"].as_u64()).filter(|replicas| *replicas > 0) {
            Some(replicas) => context.replicas = u8::try_from(replicas).unwrap_or(context.replicas),
            // Stopped, or on the way from one StatefulSet to the next.
            None if set.is_some() || service.is_some() => {
                context.replicas = self.remembered().await?.unwrap_or(context.replicas);
            }
            None => {}
        }
        if let Some(primary) = service.and_then(|service| service["spec"]["selector"][POD_NAME].as_str()) {
            context.primary = primary.to_owned();
        } else if service.is_none()
            && self.may_have_data
            && let Some(primary) = state::read(self.cluster, self.names).await?.primary
        {
            // Taken down, and brought up again: its data says who is the primary, not the number.
            context.primary = primary;
        }
        let ordinal = context.primary.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<u8>().ok());
        match ordinal {
            Some(ordinal) if set.is_none() && ordinal >= context.replicas => {
                let (primary, least) = (&context.primary, ordinal + 1);
                let words =
                    format!("{primary} is the primary of {}, so it has to be one of its members", self.names.set());
                Err(Refusal::Failed(Failure::refused(words).hint(format!("--replicas {least} is the least that does"))))
            }
            _ => Ok(context),
        }
    }

    /// How many members a set has whose StatefulSet does not say so: what was noted, else as many as still run.
    async fn remembered(&self) -> Result<Option<u8>, Refusal> {
        if let Some(replicas) = state::read(self.cluster, self.names).await?.replicas {
            return Ok(Some(replicas));
        }
        let seen = look(self.cluster, self.names.namespace(), self.names.set()).await?;
        let pods = seen.pods.iter().filter_map(|pod| seen.ordinal(pod.metadata.name.as_deref()?));
        Ok(pods.max().and_then(|highest| u8::try_from(highest + 1).ok()))
    }

    /// Plans what depends on the set that runs once more.
    async fn again(&self, context: &Context, planned: &mut Vec<Planned>) -> Result<(), Refusal> {
        let again = render(self.settings, context, self.templates).map_err(|error| Refusal::Failed(error.into()))?;
        let differs = |object: &Object| {
            let same = |one: &Planned| one.object.kind == object.kind && one.object.name == object.name;
            // A claim that keeps its size is not what was rendered, and depends on nothing here.
            object.kind != ObjectKind::PersistentVolumeClaim
                && !planned.iter().any(|one| same(one) && one.object == *object)
        };
        let again: Vec<Object> = again.objects.into_iter().filter(differs).collect();
        for one in join_all(again.into_iter().map(|object| self.one(object))).await {
            let (one, _) = one?;
            let same = |old: &&mut Planned| old.object.kind == one.object.kind && old.object.name == one.object.name;
            match planned.iter_mut().find(same) {
                Some(old) => *old = one,
                None => planned.push(one),
            }
        }
        Ok(())
    }

    /// The members' claims that are smaller than the settings say: those that can grow, and why others cannot.
    async fn growth(&self) -> Result<(Vec<SmallClaim>, Vec<Kept>), Refusal> {
        if self.settings.layout != Layout::PerPod {
            return Ok((Vec::new(), Vec::new()));
        }
        let small = small_claims(self.names, self.claims, &self.settings.size);
        if small.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let classes = self.classes.get().await?;
        // Who may not see the classes tries, and is told by the API server.
        let can_grow = |claim: &SmallClaim| {
            let class = claim.class.as_str();
            !class.is_empty() && classes.is_none_or(|classes| classes.allows_expansion(class))
        };
        let (grow, fixed): (Vec<SmallClaim>, Vec<SmallClaim>) = small.into_iter().partition(can_grow);
        let reason = |SmallClaim { name, size, class }: SmallClaim| {
            let why = if class.is_empty() {
                "a volume that no StorageClass made does not grow".to_owned()
            } else {
                format!("StorageClass {class} does not allow expansion")
            };
            let room = size.parse().ok().filter(|_| !class.is_empty());
            Kept { words: format!("PersistentVolumeClaim {name} stays at {size}: {why}"), room }
        };
        Ok((grow, fixed.into_iter().map(reason).collect()))
    }
}

/// `Service pgset-master`.
pub fn short(object: &Object) -> String {
    format!("{} {}", object.kind.as_str(), object.name)
}

/// Refuses to bring volumes that lead into the folders of another set, or to take such back.
pub async fn folders_of_its_own(app: &App, cluster: &Cluster, names: &Names, plan: &Plan) -> Outcome {
    let new = |one: &&Planned| {
        let comes = one.change == Change::Created || one.retake.is_some();
        one.object.kind == ObjectKind::PersistentVolume && comes
    };
    let Some(ours) = plan.objects.iter().find(new).map(|one| &one.object.body) else { return Ok(()) };
    let others = match all_volumes(cluster).await {
        Ok(others) => others,
        Err(failure) if failure.is_forbidden() => {
            app.ui.warn(&format!("{failure}: make sure that no other set uses the same folder"));
            return Ok(());
        }
        Err(failure) => return Err(failure.into()),
    };
    let found = others.into_iter().find_map(|other| neighbour(names, ours, &json!(other)));
    let Some(found) = found else { return Ok(()) };
    Err(found.hints(names.set()).into_iter().fold(Failure::refused(found.words()), Failure::hint))
}
