//! `pgset up`: preflight, plan, apply, wait until healthy, how to connect.

use futures::future::{join_all, try_join};
use serde_json::{Value, json};

use super::app::{App, patience};
use super::follow::Follower;
use super::passwords::passwords;
use super::result::{Finish, finish};
use crate::cli::UpArgs;
use crate::cluster::{
    ApiFailure, Applier, Cluster, Need, Problem, context_namespace, describe, preflight, volumes_of_sets_named,
};
use crate::error::{Failure, Outcome};
use crate::manifests::{Context, Manifests, Names, Object, ObjectKind, Templates, render};
use crate::set::plan::{Change, change, foreign_owner, keep_replicas, shares_folders};
use crate::settings::{self, Inputs, Resolved, Settings, SettingsFile, ThisMachine};

/// Brings the set up.
///
/// # Errors
/// Whatever keeps it from becoming healthy; nothing is undone and nothing is deleted.
pub async fn run(app: &App, args: UpArgs) -> Outcome {
    let (resolved, connection) = resolve(app, &args.settings)?;
    let Resolved { settings, timeout, .. } = resolved;
    let templates = Templates::load(settings.templates.as_deref())?;
    let names = Names::new(&settings.name, &settings.namespace);
    let manifests = render(&settings, &Context::new(&settings), &templates)?;
    let cluster = app.connect(&connection).await?;

    check(&cluster, &settings, &manifests).await?;
    app.ui.detail("preflight: version, namespace, storage and rights are fine");
    let passwords = async { passwords(&cluster, &names, &settings).await.map_err(Refusal::Failed) };
    let planned = plan(&cluster, &names, &settings, &templates, manifests);
    let (planned, (secret, new_secret)) = try_join(planned, passwords).await?;
    folders_of_its_own(app, &cluster, &names, &planned).await?;
    app.ui.detail(&format!("dry run: the API server accepts all {} objects", planned.len()));
    app.when_interrupted(
        "interrupted: nothing is undone, and the set goes on starting by itself",
        format!("wait for it: {}, or repeat: {}", app.command("wait", &names), app.command("up", &names)),
    );
    let changes = apply(&cluster, planned, new_secret).await?;
    say_changes(app, &names, &changes);
    if let Some(scaled) = changes.replicas.filter(|live| *live != i64::from(settings.replicas.get())) {
        app.ui.hint(&format!(
            "the set keeps the {scaled} members it was scaled to; to change that: {}",
            app.command(&format!("scale {}", settings.replicas.get()), &names)
        ));
    }

    let (since, timeout) = (app.started, patience(timeout));
    let follower =
        Follower { app, cluster: &cluster, names: &names, since, timeout, secret: Some(secret), unstick: args.unstick };
    let followed = follower.follow().await?;
    finish(Finish {
        app,
        cluster: &cluster,
        names: &names,
        followed: &followed,
        command: "up",
        output: args.output,
        changes: changes.words(),
    })
    .await?;
    super::result::how_to_connect(app, &names, &settings);
    Ok(())
}

/// Settings from everywhere, and the way to the cluster they are for.
///
/// # Errors
/// Everything that is wrong with what was given, at once.
pub fn resolve(app: &App, flags: &crate::cli::SettingsFlags) -> Outcome<(Resolved, settings::Connection)> {
    let file = SettingsFile::load(flags.file.as_deref());
    let failed = |problems: Vec<settings::Problem>| settings::failure(&problems);
    let connection = settings::connection(&app.common, &app.env, &file);
    let namespace = connection.as_ref().ok().and_then(context_namespace);
    let context = settings::Context { namespace: namespace.as_deref(), machine: &ThisMachine };
    let inputs = Inputs { common: &app.common, flags, env: &app.env, file: &file, context };
    // First, since it tells everything that is wrong and not only what concerns the connection.
    let resolved = settings::resolve(&inputs).map_err(failed)?;
    Ok((resolved, connection.map_err(failed)?))
}

// ---- preflight ------------------------------------------------------------------------------------------------------

/// Everything that can be known to be missing, in one list, before the first write.
async fn check(cluster: &Cluster, settings: &Settings, manifests: &Manifests) -> Outcome {
    let problems = preflight(cluster, settings, &needs(manifests)).await?;
    if problems.is_empty() {
        return Ok(());
    }
    let name = &settings.name;
    let list: String = problems.iter().map(|Problem { what, fix }| format!("\n  - {what}\n    fix: {fix}")).collect();
    let count =
        if problems.len() == 1 { "one thing keeps".to_owned() } else { format!("{} things keep", problems.len()) };
    Err(Failure::error(format!("{count} {name} from coming up; nothing was changed:{list}")))
}

/// Every right `up` uses, but for asking PostgreSQL: without that one, health is Kubernetes' word.
pub(super) fn needs(manifests: &Manifests) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut kinds: Vec<ObjectKind> = manifests.objects.iter().map(|object| object.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let (group, resource) = resource(kind);
        for verb in ["get", "create", "patch"] {
            let need = Need::new(verb, group, resource);
            needs.push(if kind == ObjectKind::PersistentVolume { need.cluster_wide() } else { need });
        }
    }
    needs.extend(["get", "create"].map(|verb| Need::new(verb, "", "secrets")));
    needs.push(Need::new("patch", "", "pods"));
    let watched = [
        ("apps", "statefulsets"),
        ("", "pods"),
        ("", "persistentvolumeclaims"),
        ("discovery.k8s.io", "endpointslices"),
    ];
    for (group, resource) in watched {
        needs.extend(["list", "watch"].map(|verb| Need::new(verb, group, resource)));
    }
    needs
}

/// Group and plural, as rights name them.
fn resource(kind: ObjectKind) -> (&'static str, &'static str) {
    match kind {
        ObjectKind::PersistentVolume => ("", "persistentvolumes"),
        ObjectKind::PersistentVolumeClaim => ("", "persistentvolumeclaims"),
        ObjectKind::ServiceAccount => ("", "serviceaccounts"),
        ObjectKind::Role => ("rbac.authorization.k8s.io", "roles"),
        ObjectKind::RoleBinding => ("rbac.authorization.k8s.io", "rolebindings"),
        ObjectKind::Secret => ("", "secrets"),
        ObjectKind::ConfigMap => ("", "configmaps"),
        ObjectKind::Service => ("", "services"),
        ObjectKind::PodDisruptionBudget => ("policy", "poddisruptionbudgets"),
        ObjectKind::StatefulSet => ("apps", "statefulsets"),
    }
}

// ---- plan -----------------------------------------------------------------------------------------------------------

/// One object with what applying it will do.
struct Planned {
    object: Object,
    change: Change,
    live: Option<Value>,
}

/// Why an object cannot be planned.
enum Refusal {
    Api(ApiFailure),
    Foreign { object: String, owner: String },
    Failed(Failure),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Api(failure) if failure.code == Some(422) && failure.what.contains("StatefulSet") => {
                let hint = "Kubernetes does not let this change on an existing StatefulSet; its data can stay: pgset down, then pgset up";
                Self::error(failure).hint(hint)
            }
            Refusal::Api(failure) => failure.into(),
            Refusal::Foreign { object, owner } => {
                Self::refused(format!("{object} exists and is not this set's: it belongs to {owner}"))
                    .hint("choose another name with --name, another namespace with -n, or remove that object first")
            }
            Refusal::Failed(failure) => failure,
        }
    }
}

/// Tries everything as a server-side dry run, at the same time.
async fn plan(
    cluster: &Cluster,
    names: &Names,
    settings: &Settings,
    templates: &Templates,
    manifests: Manifests,
) -> Result<Vec<Planned>, Refusal> {
    let applier = Applier::new(cluster);
    let planned = join_all(manifests.objects.into_iter().map(|object| plan_one(&applier, names, object))).await;
    let mut planned = planned.into_iter().collect::<Result<Vec<_>, _>>()?;
    keep_what_is_live(names, settings, templates, &applier, &mut planned).await?;
    Ok(planned)
}

async fn plan_one(applier: &Applier<'_>, names: &Names, mut object: Object) -> Result<Planned, Refusal> {
    let dry_run = applier.dry_run(&object).await;
    // Only an object that exists can refuse a change to itself, so a refusal is looked into as well.
    let exists = match &dry_run {
        Ok(applied) => applied.exists,
        Err(failure) => failure.code == Some(422) || failure.is_conflict(),
    };
    let live = if exists { applier.live(&object).await.map_err(Refusal::Api)? } else { None };
    let Some(live) = live else {
        dry_run.map_err(Refusal::Api)?;
        return Ok(Planned { object, change: Change::Created, live: None });
    };
    if let Some(owner) = foreign_owner(names.set(), &live) {
        return Err(Refusal::Foreign { object: describe(&object), owner });
    }
    let applied = if object.kind == ObjectKind::StatefulSet {
        keep_replicas(&mut object, &live);
        applier.dry_run(&object).await
    } else {
        dry_run
    };
    let applied = applied.map_err(Refusal::Api)?;
    Ok(Planned { change: change(Some(&live), &applied.result), live: Some(live), object })
}

/// A set that runs decides some things itself: how many members it was scaled to, and which of them is the primary.
/// Where that differs from a new set, what depends on it is rendered and planned again.
async fn keep_what_is_live(
    names: &Names,
    settings: &Settings,
    templates: &Templates,
    applier: &Applier<'_>,
    planned: &mut Vec<Planned>,
) -> Result<(), Refusal> {
    let mut context = Context::new(settings);
    let live_of = |planned: &[Planned], kind: ObjectKind, name: &str| {
        planned.iter().find(|one| one.object.kind == kind && one.object.name == name).and_then(|one| one.live.clone())
    };
    if let Some(set) = live_of(planned, ObjectKind::StatefulSet, names.statefulset())
        && let Some(replicas) = set["spec"]["replicas"].as_u64()
    {
        context.replicas = u8::try_from(replicas).unwrap_or(context.replicas);
    }
    if let Some(service) = live_of(planned, ObjectKind::Service, &names.master_service())
        && let Some(primary) = service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"].as_str()
    {
        context.primary = primary.to_owned();
    }
    if context == Context::new(settings) {
        return Ok(());
    }
    let again = render(settings, &context, templates).map_err(|error| Refusal::Failed(error.into()))?;
    let differs = |object: &Object| !planned.iter().any(|one| one.object == *object);
    let again: Vec<Object> = again.objects.into_iter().filter(differs).collect();
    let replanned = join_all(again.into_iter().map(|object| plan_one(applier, names, object))).await;
    for one in replanned {
        let one = one?;
        match planned.iter_mut().find(|old| old.object.kind == one.object.kind && old.object.name == one.object.name) {
            Some(old) => *old = one,
            None => planned.push(one),
        }
    }
    Ok(())
}

/// Refuses to bring volumes that lead to the folders of another set of the same name.
async fn folders_of_its_own(app: &App, cluster: &Cluster, names: &Names, planned: &[Planned]) -> Outcome {
    let new = |one: &&Planned| one.object.kind == ObjectKind::PersistentVolume && one.change == Change::Created;
    let Some(ours) = planned.iter().find(new).map(|one| &one.object.body) else { return Ok(()) };
    let others = match volumes_of_sets_named(cluster, names.set()).await {
        Ok(others) => others,
        Err(failure) if failure.is_forbidden() => {
            app.ui.warn(&format!("{failure}: make sure that no other set {} uses the same folder", names.set()));
            return Ok(());
        }
        Err(failure) => return Err(failure.into()),
    };
    for other in others {
        if let Some(namespace) = shares_folders(ours, &json!(other)) {
            let (set, volume) = (names.set(), other.metadata.name.unwrap_or_default());
            return Err(Failure::refused(format!(
                "PersistentVolume {volume} leads the set {set} in namespace {namespace} to the same folder: both would write to each other's data"
            ))
            .hint("give this set a folder of its own with --host-path or --nfs-path, or another name with --name")
            .hint(format!("if that set is gone for good, move its data away, then: kubectl delete pv {volume}")));
        }
    }
    Ok(())
}

// ---- apply ----------------------------------------------------------------------------------------------------------

/// What was done to which objects.
pub struct Changes {
    created: Vec<String>,
    configured: Vec<(String, Vec<String>)>,
    /// The live StatefulSet's replicas, where there was one.
    replicas: Option<i64>,
}

impl Changes {
    /// One line an object.
    fn words(&self) -> Vec<String> {
        let created = self.created.iter().map(|object| format!("created {object}"));
        created.chain(self.configured.iter().map(|(object, _)| format!("configured {object}"))).collect()
    }
}

/// Applies what differs. Only one thing has an order: the StatefulSet comes last, since its pods need the rest.
async fn apply(cluster: &Cluster, planned: Vec<Planned>, secret: Option<Object>) -> Outcome<Changes> {
    let mut changes = Changes { created: Vec::new(), configured: Vec::new(), replicas: None };
    let short = |object: &Object| format!("{} {}", object.kind.as_str(), object.name);
    for one in &planned {
        match &one.change {
            Change::Created => changes.created.push(short(&one.object)),
            Change::Configured(paths) => changes.configured.push((short(&one.object), paths.clone())),
            Change::Unchanged => {}
        }
        if one.object.kind == ObjectKind::StatefulSet {
            changes.replicas = one.live.as_ref().and_then(|live| live["spec"]["replicas"].as_i64());
        }
    }
    changes.created.extend(secret.iter().map(short));
    let applier = Applier::new(cluster);
    let needed = planned.into_iter().filter(|one| one.change != Change::Unchanged).map(|one| one.object);
    let (last, first): (Vec<Object>, Vec<Object>) = needed.partition(|object| object.kind == ObjectKind::StatefulSet);
    let create = async {
        match &secret {
            Some(secret) => applier.create(secret).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let (created, applied) = futures::join!(create, join_all(first.iter().map(|object| applier.apply(object))));
    created?;
    for applied in applied {
        applied?;
    }
    for object in &last {
        applier.apply(object).await?;
    }
    Ok(changes)
}

fn say_changes(app: &App, names: &Names, changes: &Changes) {
    if changes.created.is_empty() && changes.configured.is_empty() {
        app.ui.say(&format!("nothing to change on {} in namespace {}", names.set(), names.namespace()));
        return;
    }
    if !changes.created.is_empty() {
        app.ui.say(&format!("created {}", changes.created.join(", ")));
    }
    for (object, paths) in &changes.configured {
        app.ui.say(&format!("configured {object} ({})", paths.join(", ")));
    }
}
