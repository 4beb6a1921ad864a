//! `pgset doctor`: everything that is wrong or will be, with a set or, where there is none, with the cluster and the rights.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use futures::join;
use k8s_openapi::api::core::v1::Node;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::app::App;
use super::ask::{Asker, superuser};
use super::base::resolve;
use super::bundle::{self, Packed};
use super::learn::read_all_last_words;
use super::{status, up};
use crate::cli::{DoctorArgs, ResultFormat, SettingsFlags};
use crate::cluster::{
    ApiFailure, Applier, ClassesOnce, Cluster, Need, Problem, SetSecret, all_nodes, look, look_at_events,
    look_at_nodes, look_inside, missing_rights, preflight, try_claim, try_pod,
};
use crate::error::{Failure, Kind, Outcome};
use crate::manifests::{Context, Manifests, Names, ObjectKind, render};
use crate::report::status::{StatusView, finding_text};
use crate::report::{Paint, document};
use crate::set::findings::{self, Finding};
use crate::set::observation::{Inside, PodReading, condition};
use crate::set::rollout::{Nodes, members_to_ask};
use crate::set::{Observation, Severity, health::health, inside};

/// A look from inside that takes this long is told of.
const LONG: Duration = Duration::from_secs(2);

/// `kind: Doctor` of `pgset/v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorView {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub name: String,
    pub namespace: String,
    /// `None` where there is no set.
    pub status: Option<StatusView>,
    /// What would keep `up` from succeeding; for a set, what its findings do not say.
    pub problems: Vec<Check>,
    /// What was looked at and is fine, or could not be looked at.
    pub checks: Vec<Check>,
    /// Where there is no set; a set's own are part of its status.
    pub findings: Vec<Finding>,
}

/// One thing looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub what: String,
    /// `None` for what is fine.
    pub fix: Option<String>,
}

impl Check {
    fn fine(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None }
    }

    fn problem(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: Some(fix.into()) }
    }
}

/// Looks, reports, and packs the bundle where one is wanted.
///
/// # Errors
/// Something is wrong, or nothing can be looked at.
pub async fn run(app: &App, args: DoctorArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let seen = look(&cluster, names.namespace(), names.set()).await;
    let seen = match seen {
        // Who may not even look still wants to know what is missing.
        Err(failure) if failure.is_forbidden() => None,
        seen => Some(seen?).filter(|seen| seen.stateful_set.is_some()),
    };
    let (view, seen, asker) = match seen {
        Some(seen) => with_set(app, &cluster, &names, seen).await,
        None => (Box::pin(without_set(app, &cluster, &names)).await?, None, None),
    };
    let view = carried(app, view);
    app.ui.data(&shown(app, &view, &names, args.output)?)?;
    if let Some(file) = &args.bundle {
        let packed = bundle::pack(&cluster, &names, &view, seen, asker).await?;
        let Packed { entries, without } = bundle::write(file, packed)?;
        app.ui.say(&format!("wrote {}: {entries} files, without any secret", file.display()));
        for what in without {
            app.ui.warn(&format!("not in the bundle: {what}"));
        }
    }
    verdict(&view)
}

/// The view with what this run was given in the commands of its fixes.
fn carried(app: &App, mut view: DoctorView) -> DoctorView {
    for fix in view.problems.iter_mut().filter_map(|problem| problem.fix.as_mut()) {
        *fix = app.ui.carried(fix);
    }
    view.findings = app.ui.carried_in(view.findings);
    if let Some(status) = &mut view.status {
        status.findings = app.ui.carried_in(std::mem::take(&mut status.findings));
    }
    view
}

fn verdict(view: &DoctorView) -> Outcome {
    let place = format!("{} in namespace {}", view.name, view.namespace);
    let unhealthy = view.status.as_ref().is_some_and(|status| !status.healthy);
    let weighs = |finding: &Finding| finding.severity <= Severity::Blocking;
    let of_set = view.status.iter().flat_map(|status| &status.findings);
    if unhealthy {
        return Err(Failure::new(Kind::Unhealthy, format!("{place} is not healthy")));
    }
    if view.status.is_some() && of_set.clone().any(weighs) {
        return Err(Failure::new(Kind::Unhealthy, format!("{place} is healthy, but something is wrong around it")));
    }
    if view.status.is_some() && !view.problems.is_empty() {
        return Err(Failure::new(
            Kind::Unhealthy,
            format!("{place} is healthy, but you lack rights that its commands use"),
        ));
    }
    if view.status.is_none() && (!view.problems.is_empty() || view.findings.iter().any(weighs)) {
        return Err(Failure::new(Kind::Unhealthy, format!("{place} would not come up")));
    }
    Ok(())
}

// ---- a set ----------------------------------------------------------------------------------------------------------

async fn with_set(
    app: &App,
    cluster: &Cluster,
    names: &Names,
    mut seen: Observation,
) -> (DoctorView, Option<Observation>, Option<Asker>) {
    let namespace = names.namespace();
    let secret = names.passwords();
    let nodes: BTreeSet<String> = seen.pods.iter().filter_map(|pod| pod.node().map(str::to_owned)).collect();
    let nodes = Nodes::Named(nodes.into_iter().collect());
    let needs = needs_of_a_set();
    let (secret, events, nodes, rights, inside) = join!(
        SetSecret::read(cluster, namespace, &secret),
        look_at_events(cluster, namespace, names.set()),
        look_at_nodes(cluster, nodes),
        missing_rights(cluster, namespace, &needs),
        look_from_members(app, cluster, &seen),
    );
    let secret = SetSecret::of_set(cluster, names, seen.stateful_set.as_ref(), secret).await;
    let password = superuser(secret.ok().flatten().as_ref(), &mut seen);
    let mut asker = Asker::new(cluster, namespace, password);
    asker.look_after();
    asker.ask(members_to_ask(&seen), &mut seen).await;
    (seen.events, seen.nodes) = (events, nodes);
    read_all_last_words(cluster, &mut seen).await;
    status::look_closer(cluster, &mut asker, &mut seen).await;

    let mut checks = Vec::new();
    let mut problems = Vec::new();
    for (member, inside) in inside {
        match inside {
            Ok(inside) => {
                if inside.service == Some(true) {
                    checks.push(Check::fine(format!("{member} reaches {}", names.master_service())));
                }
                seen.inside.insert(member, inside);
            }
            Err(failure) => {
                checks.push(Check::fine(format!("not looked at from inside {member}: {}", failure.message)));
            }
        }
    }
    match rights {
        Ok(missing) if missing.is_empty() => {
            checks.push(Check::fine("you may do everything that pgset does with a set"));
        }
        Ok(missing) => problems.extend(missing.into_iter().map(|Problem { what, fix }| Check::problem(what, fix))),
        Err(failure) => checks.push(Check::fine(format!("rights not known: {}", failure.message))),
    }
    if !seen.nodes.is_empty() {
        checks.push(Check::fine(format!("the members' nodes: {}", node_names(&seen.nodes))));
    }
    let status = StatusView::new(&seen, &health(&seen), findings::diagnose(&seen, None));
    let view = DoctorView {
        api_version: "pgset/v1",
        kind: "Doctor",
        name: names.set().to_owned(),
        namespace: namespace.to_owned(),
        status: Some(status),
        problems,
        checks,
        findings: Vec::new(),
    };
    (view, Some(seen), Some(asker))
}

fn node_names(nodes: &[Node]) -> String {
    let names: Vec<&str> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
    names.join(", ")
}

async fn look_from_members(
    app: &App,
    cluster: &Cluster,
    seen: &Observation,
) -> Vec<(String, Result<Inside, ApiFailure>)> {
    let members = members_to_ask(seen);
    let try_for = inside::try_for(seen);
    let looks = join_all(members.into_iter().map(|member| async {
        let inside = look_inside(cluster, &seen.namespace, &member, try_for).await;
        (member, inside)
    }));
    let mut looks = pin!(looks);
    tokio::select! {
        looked = &mut looks => return looked,
        () = sleep(LONG) => {}
    }
    app.ui.say(&format!(
        "DNS or {}-master does not answer from inside the members; trying for up to {} s",
        seen.name,
        (inside::ASKING_DNS + try_for).as_secs()
    ));
    looks.await
}

/// What the commands for a set that exists use.
fn needs_of_a_set() -> Vec<Need> {
    let mut needs = vec![
        Need::new("get", "", "secrets"),
        Need::new("patch", "", "pods"),
        Need::new("delete", "", "pods"),
        Need::new("get", "", "pods").subresource("log"),
        Need::new("create", "", "pods").subresource("portforward"),
        Need::new("create", "", "pods").subresource("exec"),
        Need::new("patch", "apps", "statefulsets").subresource("scale"),
        Need::new("patch", "apps", "statefulsets"),
        Need::new("list", "", "services"),
        Need::new("patch", "", "services"),
        Need::new("list", "", "events"),
    ];
    for (group, resource) in
        [("apps", "statefulsets"), ("", "pods"), ("", "persistentvolumeclaims"), ("discovery.k8s.io", "endpointslices")]
    {
        needs.extend(["list", "watch"].map(|verb| Need::new(verb, group, resource)));
    }
    needs
}

// ---- no set ---------------------------------------------------------------------------------------------------------

/// Whether `up` with the settings of the environment and the settings file would work here.
async fn without_set(app: &App, cluster: &Cluster, names: &Names) -> Outcome<DoctorView> {
    let with = resolve(app, &SettingsFlags::default())?;
    let templates = with.templates()?;
    let settings = with.resolved.settings;
    let manifests = render(&settings, &Context::new(&settings), &templates)?;
    let needs = up::needs(&manifests);
    let classes = ClassesOnce::new(cluster);
    let (found, nodes, refusals) = join!(
        preflight(cluster, &classes, &settings, &needs),
        all_nodes(cluster),
        admitted(cluster, names.namespace(), &manifests)
    );
    let mut problems: Vec<Check> = found?.into_iter().map(|Problem { what, fix }| Check::problem(what, fix)).collect();
    let mut checks = Vec::new();
    if problems.is_empty() {
        checks.push(Check::fine("version, namespace, storage and rights are fine"));
    }
    let mut found = Vec::new();
    for failure in refusals {
        // A right or a namespace that is missing is on the list already, in better words.
        let told = failure.is_not_found() || (failure.is_forbidden() && failure.message.contains(" cannot "));
        if !told {
            let finding = findings::refused(names.set(), names.namespace(), &failure.message);
            found.push(finding.shown_by(&failure.message));
        }
    }
    found.dedup_by(|one, other| one.code == other.code && one.summary == other.summary);
    if found.is_empty() && problems.is_empty() {
        checks.push(Check::fine(
            "the API server admits the set's objects, a member's pod and its claim (tried, not made)",
        ));
    }
    match nodes {
        Ok(nodes) => match usable(&nodes) {
            0 => problems.push(Check::problem(
                format!("none of the {} nodes is ready and open for new pods", nodes.len()),
                "kubectl get nodes; kubectl uncordon NODE",
            )),
            usable => {
                checks.push(Check::fine(format!("{usable} of {} nodes are ready and open for new pods", nodes.len())));
            }
        },
        Err(failure) => checks.push(Check::fine(format!("nodes not looked at: {}", failure.message))),
    }
    Ok(DoctorView {
        api_version: "pgset/v1",
        kind: "Doctor",
        name: names.set().to_owned(),
        namespace: names.namespace().to_owned(),
        status: None,
        problems,
        checks,
        findings: found,
    })
}

/// Why the API server would not take the objects, a member's pod or its claim: each is tried, none is made.
async fn admitted(cluster: &Cluster, namespace: &str, manifests: &Manifests) -> Vec<ApiFailure> {
    let applier = Applier::new(cluster);
    let objects = join_all(manifests.objects.iter().map(|object| applier.dry_run(object))).await;
    let mut failures: Vec<ApiFailure> = objects.into_iter().filter_map(Result::err).collect();
    let set = manifests.objects.iter().find(|object| object.kind == ObjectKind::StatefulSet);
    if let Some(set) = set {
        let spec = &set.body["spec"];
        let mut template = spec["template"].clone();
        template["metadata"]["generateName"] = json!(format!("{}-", set.name));
        // The set's own account does not exist yet; every namespace has this one.
        template["spec"]["serviceAccountName"] = json!("default");
        // Of a claim template the controller makes a volume; an empty one stands for it.
        let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
        let stand_ins = claims.map(|claim| json!({"name": claim["metadata"]["name"], "emptyDir": {}}));
        template["spec"]["volumes"].as_array_mut().into_iter().for_each(|volumes| volumes.extend(stand_ins.clone()));
        failures.extend(try_pod(cluster, namespace, template).await.err());
        for claim in spec["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let metadata: Value = json!({"generateName": format!("{}-", set.name)});
            let claim = json!({"metadata": metadata, "spec": claim["spec"]});
            failures.extend(try_claim(cluster, namespace, claim).await.err());
        }
    }
    failures
}

fn usable(nodes: &[Node]) -> usize {
    let is_ready = |node: &&Node| condition(node, "Ready").is_some_and(|ready| ready.status == "True");
    let is_open = |node: &&Node| !node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    nodes.iter().filter(is_ready).filter(is_open).count()
}

// ---- shown ----------------------------------------------------------------------------------------------------------

fn shown(app: &App, view: &DoctorView, names: &Names, output: ResultFormat) -> Outcome<String> {
    if output != ResultFormat::Text {
        return document(view, output == ResultFormat::Yaml);
    }
    let mut text = match &view.status {
        Some(status) => status.text(&app.ui, false, app.started),
        None => format!("there is no set {} in namespace {}; would pgset up work here?\n", view.name, view.namespace),
    };
    for finding in &view.findings {
        text.push('\n');
        text.push_str(&finding_text(finding, |paint, words| app.ui.paint_data(paint, words)));
    }
    text.push('\n');
    for Check { what, fix } in view.problems.iter().chain(&view.checks) {
        match fix {
            Some(fix) => text.push_str(&format!(
                "{} {what}\n       {} {fix}\n",
                app.ui.paint_data(Paint::Red, "wrong "),
                app.ui.paint_data(Paint::Cyan, "fix:")
            )),
            None => text.push_str(&format!("{} {what}\n", app.ui.paint_data(Paint::Green, "checked"))),
        }
    }
    if view.status.is_none() && view.problems.is_empty() && view.findings.is_empty() {
        text.push_str(&format!("\nnothing keeps a set from coming up here: {}\n", app.command("up", names)));
    }
    Ok(text)
}
