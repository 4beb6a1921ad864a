//! Doing what was planned.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::plan::{Plan, Planned, short};
use crate::cluster::{Applier, Cluster, Deleter, grow_claim, retake};
use crate::commands::app::App;
use crate::commands::state;
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::{Names, Object, ObjectKind};
use crate::report::text::and;
use crate::set::plan::{Change, SmallClaim};

/// How often a StatefulSet that is being deleted is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// After this long it is said what a deletion waits for.
const UNREMARKABLE: Duration = Duration::from_secs(5);

/// What was done to which objects.
pub struct Changes {
    created: Vec<String>,
    configured: Vec<(String, Vec<String>)>,
    recreated: Vec<String>,
    retaken: Vec<String>,
    grown: Vec<String>,
}

impl Changes {
    /// What this plan changes, and the Secret beside it.
    fn of(plan: &Plan, secret: Option<&Object>, size: &str) -> Self {
        let mut changes = Self {
            created: Vec::new(),
            configured: Vec::new(),
            recreated: Vec::new(),
            retaken: plan
                .retakes()
                .map(|one| format!("took back PersistentVolume {} for {}", one.volume, one.claim))
                .collect(),
            grown: plan.grow.iter().map(|claim| grown(claim, size)).collect(),
        };
        for one in &plan.objects {
            match &one.change {
                Change::Created => changes.created.push(short(&one.object)),
                Change::Configured(paths) => changes.configured.push((short(&one.object), paths.clone())),
                Change::Recreated(_) => changes.recreated.push(short(&one.object)),
                Change::Unchanged => {}
            }
        }
        changes.created.extend(secret.map(short));
        changes
    }

    /// One line an object.
    pub fn words(&self) -> Vec<String> {
        let created = self.created.iter().map(|object| format!("created {object}"));
        let configured = self.configured.iter().map(|(object, _)| format!("configured {object}"));
        let recreated = self.recreated.iter().map(|object| format!("recreated {object}"));
        created.chain(configured).chain(recreated).chain(self.retaken.iter().chain(&self.grown).cloned()).collect()
    }
}

fn grown(claim: &SmallClaim, size: &str) -> String {
    format!("enlarged PersistentVolumeClaim {} from {} to {size}", claim.name, claim.size)
}

/// Applies what differs, nearly all of it at the same time: the StatefulSet comes last, since its pods need the rest, and so
/// does the shared claim, since the volume controller looks only once for a volume that is there, and then every 15 s.
/// `size` is what small claims are asked for; a deletion may take until `deadline`.
///
/// # Errors
/// The API server refuses or does not answer, or a deletion does not end in time.
pub async fn apply(
    app: &App,
    cluster: &Cluster,
    names: &Names,
    plan: Plan,
    secret: Option<Object>,
    size: &str,
    deadline: Instant,
) -> Outcome<Changes> {
    let changes = Changes::of(&plan, secret.as_ref(), size);
    let applier = Applier::new(cluster);
    // Before the claim that waits for them, like every volume.
    for taken in join_all(plan.retakes().map(|one| retake(cluster, one))).await {
        taken?;
    }
    let needed = plan.objects.into_iter().filter(|one| one.change != Change::Unchanged);
    let comes_last =
        |one: &Planned| matches!(one.object.kind, ObjectKind::StatefulSet | ObjectKind::PersistentVolumeClaim);
    let (last, first): (Vec<Planned>, Vec<Planned>) = needed.partition(comes_last);
    let create = async {
        match &secret {
            Some(secret) => applier.create(secret).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let (created, applied) = futures::join!(create, join_all(first.iter().map(|one| applier.apply(&one.object))));
    created?;
    for applied in applied {
        applied?;
    }
    let recreated = last.iter().find(|one| matches!(one.change, Change::Recreated(_)));
    if let Some(set) = recreated {
        delete_alone(app, cluster, names, set, deadline).await?;
    }
    for applied in join_all(last.iter().map(|one| applier.apply(&one.object))).await {
        applied?;
    }
    let grow = plan.grow.iter().map(|claim| grow_claim(cluster, names.namespace(), &claim.name, size));
    for grown in join_all(grow).await {
        grown?;
    }
    Ok(changes)
}

/// Deletes a StatefulSet without its pods and waits until it is gone. How many members it has is noted before: whoever is
/// interrupted here goes on with the next `up`.
async fn delete_alone(app: &App, cluster: &Cluster, names: &Names, one: &Planned, deadline: Instant) -> Outcome {
    let object = &one.object;
    let replicas = object.body["spec"]["replicas"].as_u64().and_then(|replicas| u8::try_from(replicas).ok());
    if let Some(replicas) = replicas {
        state::remember_replicas(cluster, names, replicas).await?;
    }
    let deleter = Deleter { cluster };
    app.ui.say(&format!("deleting {}; its members run on", short(object)));
    deleter.delete_alone(object).await?;
    let told_from = Instant::now() + UNREMARKABLE;
    let mut told = false;
    while let Some(finalizers) = deleter.remains(object).await? {
        if Instant::now() >= deadline {
            let held =
                format!("{} is still being deleted: it is held by finalizers {}", short(object), and(&finalizers));
            return Err(Failure::new(Kind::TimedOut, held)
                .hint(format!("when that is settled, go on: {}", app.command("up", names))));
        }
        if !told && Instant::now() >= told_from {
            told = true;
            app.ui.warn(&format!("{} is still held by finalizers {}; waiting", short(object), and(&finalizers)));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Says what was done.
pub fn say_changes(app: &App, names: &Names, changes: &Changes) {
    let words = changes.words();
    if words.is_empty() {
        app.ui.say(&format!("nothing to change on {} in namespace {}", names.set(), names.namespace()));
        return;
    }
    if !changes.created.is_empty() {
        app.ui.say(&format!("created {}", changes.created.join(", ")));
    }
    for (object, paths) in &changes.configured {
        app.ui.say(&format!("configured {object} ({})", paths.join(", ")));
    }
    for object in &changes.recreated {
        app.ui.say(&format!("created {object} anew around its members"));
    }
    for line in changes.retaken.iter().chain(&changes.grown) {
        app.ui.say(line);
    }
}
