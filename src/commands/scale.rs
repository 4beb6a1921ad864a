//! `pgset scale N`: up until the new members stream, down without ever dropping the primary.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::app::App;
use super::ask::ask_members;
use super::foreign;
use super::result::{Settle, settle};
use super::state;
use super::status::no_such_set;
use crate::cli::ScaleArgs;
use crate::cluster::{Applier, Cluster, Members, describe, look};
use crate::error::{Failure, Outcome};
use crate::manifests::{Names, Object, ObjectKind, volume_like};
use crate::report::text::and;
use crate::set::Observation;
use crate::set::observation::Asking;

/// Scales the set.
///
/// # Errors
/// There is no such set, the primary would go, or the set does not become healthy.
pub async fn run(app: &App, args: ScaleArgs) -> Outcome {
    let (target, cluster) = app.target().await?;
    let names = Names::new(&target.name, &target.namespace);
    let mut seen = look(&cluster, names.namespace(), names.set()).await?;
    let Some(current) = seen.wanted() else { return Err(no_such_set(app, &cluster, &names).await) };
    foreign::refuse(app, &names, &seen)?;
    let wanted = args.replicas.get();
    if current == 0 && state::read(&cluster, &names).await?.replicas.is_some() {
        return Err(Failure::refused(format!("{} in namespace {} is stopped", names.set(), names.namespace()))
            .hint(format!("start it first, with the members it had: {}", app.command("start", &names))));
    }
    let mut changes = Vec::new();
    if i32::from(wanted) == current {
        app.ui.say(&format!("{} in namespace {} has {wanted} members already", names.set(), names.namespace()));
    } else {
        if i32::from(wanted) < current {
            let leaving: Vec<String> = (i32::from(wanted)..current).map(|ordinal| seen.member_name(ordinal)).collect();
            ask_members(&cluster, &names, &mut seen).await?;
            guard(app, &names, &seen, &leaving)?;
            retire(&cluster, &names, &leaving).await?;
            say_what_stays(app, &seen, &leaving);
        } else {
            changes.extend(add_volumes(&cluster, &names, wanted).await?);
        }
        Members { cluster: &cluster, namespace: names.namespace() }.scale(names.statefulset(), wanted).await?;
        changes.push(format!("scaled StatefulSet {} from {current} to {wanted}", names.statefulset()));
        app.ui.say(&changes.join(", "));
    }
    app.when_interrupted(
        "interrupted: nothing is undone, and the set goes on by itself",
        format!("wait for it: {}", app.command("wait", &names)),
    );
    settle(Settle {
        app,
        cluster: &cluster,
        names: &names,
        timeout: target.timeout,
        secret: None,
        unstick: false,
        command: "scale",
        output: args.output,
        changes,
    })
    .await
}

/// Refuses whatever could drop the primary: a scale-down removes the highest members, whoever they are.
fn guard(app: &App, names: &Names, seen: &Observation, leaving: &[String]) -> Outcome {
    let set = &seen.name;
    if seen.asking == Asking::Forbidden {
        return Err(Failure::refused(format!(
            "scaling {set} down needs PostgreSQL's word on who is primary, and you may not ask it"
        ))
        .hint("ask whoever runs the cluster for the rights to create pods/portforward and to get the set's Secret"));
    }
    match seen.primaries()[..] {
        [primary] if leaving.iter().any(|member| member == primary) => {
            let first = seen.ordinal(primary).unwrap_or(0) + 1;
            Err(Failure::refused(format!("scaling down would remove the primary, {primary}"))
                .hint(format!("keep it: {} is the least that does", app.command(&format!("scale {first}"), names))))
        }
        [_] => Ok(()),
        [] => Err(Failure::refused(format!(
            "no member of {set} says that it is the primary, so none can be removed safely"
        ))
        .hint(format!("see what is wrong first: {}", app.command("status", names)))),
        _ => Err(Failure::refused(format!(
            "several members of {set} say that they are the primary, so none can be removed safely"
        ))
        .hint(format!("see what is wrong first: {}", app.command("status", names)))),
    }
}

/// Notes that these members' folders are left behind, so that they are cloned anew when they come back. Noted before
/// they go: a note too many costs one clone, a missing one could bring back old data.
async fn retire(cluster: &Cluster, names: &Names, leaving: &[String]) -> Outcome {
    let mut known = state::read(cluster, names).await?;
    let token = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let retired: BTreeMap<String, String> = leaving.iter().map(|member| (member.clone(), token.clone())).collect();
    known.retired.extend(retired);
    Ok(state::write(cluster, names, &known).await?)
}

fn say_what_stays(app: &App, seen: &Observation, leaving: &[String]) {
    let place = |member: &String| {
        let volumes = seen.pod(member).and_then(|pod| pod.spec.as_ref()?.volumes.as_ref()).into_iter().flatten();
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        let claim = claims.map(|claim| claim.claim_name.clone()).next().unwrap_or_else(|| "its claim".to_owned());
        format!("{member}'s data stays in folder {member} of PersistentVolumeClaim {claim}")
    };
    for line in leaving.iter().map(place) {
        app.ui.say(&line);
    }
    app.ui.say(&format!("when {} come back, they are cloned anew and the old folders kept aside", and(leaving)));
}

/// Static volumes for members that the manifests did not provide for. A set on a StorageClass, or with one shared claim,
/// needs none.
async fn add_volumes(cluster: &Cluster, names: &Names, wanted: u8) -> Outcome<Vec<String>> {
    let applier = Applier::new(cluster);
    let object = |kind, namespace: Option<&str>, name: String| {
        let namespace = namespace.map(str::to_owned);
        Object { kind, namespace, name, body: serde_json::Value::Null }
    };
    let first = object(ObjectKind::PersistentVolumeClaim, Some(names.namespace()), names.member_claim(0));
    let Some(claim) = applier.live(&first).await? else { return Ok(Vec::new()) };
    if claim["spec"]["storageClassName"].as_str() != Some("") {
        return Ok(Vec::new());
    }
    let volume_name = claim["spec"]["volumeName"].as_str().unwrap_or_default().to_owned();
    let volume = object(ObjectKind::PersistentVolume, None, volume_name.clone());
    let Some(volume) = applier.live(&volume).await? else {
        return Err(Failure::error(format!(
            "{} is not bound to a volume yet, so none can be made like it",
            describe(&first)
        )));
    };
    let mut made = Vec::new();
    for ordinal in 0..wanted {
        let like = volume_like(&volume, names, ordinal);
        if like.name != volume_name && applier.create(&like).await? {
            made.push(format!("created PersistentVolume {}", like.name));
        }
    }
    Ok(made)
}
