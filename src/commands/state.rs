//! The notes about a set (ConfigMap `NAME-state`): read, and written when they changed.

use crate::cluster::{ApiFailure, Applier, Cluster};
use crate::manifests::{Names, State};
use crate::set::Observation;
use crate::set::observation::CONTAINER;

/// Reads the notes; none is the same as empty ones.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn read(cluster: &Cluster, names: &Names) -> Result<State, ApiFailure> {
    Ok(read_version(cluster, names).await?.0)
}

/// Writes the notes.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn write(cluster: &Cluster, names: &Names, state: &State) -> Result<(), ApiFailure> {
    Applier::new(cluster).apply(&state.config_map(names)).await.map(|_| ())
}

/// Reads the notes and the version they are of, for [`write_over`].
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn read_version(cluster: &Cluster, names: &Names) -> Result<(State, Option<String>), ApiFailure> {
    let live = Applier::new(cluster).live(&State::default().config_map(names)).await?;
    let version = live.as_ref().and_then(|live| live["metadata"]["resourceVersion"].as_str()).map(str::to_owned);
    Ok((live.as_ref().map(State::read).unwrap_or_default(), version))
}

/// Writes the notes, unless somebody else has written since this version was read: then it is `false`.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn write_over(
    cluster: &Cluster,
    names: &Names,
    state: &State,
    version: Option<&str>,
) -> Result<bool, ApiFailure> {
    let applier = Applier::new(cluster);
    let mut object = state.config_map(names);
    let Some(version) = version else { return applier.create(&object).await };
    object.body["metadata"]["resourceVersion"] = version.into();
    match applier.apply(&object).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_conflict() => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Notes how many members the set has, for the time in which no StatefulSet says so.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn remember_replicas(cluster: &Cluster, names: &Names, replicas: u8) -> Result<(), ApiFailure> {
    let known = read(cluster, names).await?;
    if known.replicas == Some(replicas) {
        return Ok(());
    }
    write(cluster, names, &State { replicas: Some(replicas), ..known }).await
}

/// The StatefulSet says it again.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn forget_replicas(cluster: &Cluster, names: &Names) -> Result<(), ApiFailure> {
    let known = read(cluster, names).await?;
    if known.replicas.is_none() {
        return Ok(());
    }
    write(cluster, names, &State { replicas: None, ..known }).await
}

/// Notes what a healthy set is: its system identifier, and the image and uid that can read its data.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn record(cluster: &Cluster, names: &Names, seen: &Observation) -> Result<(), ApiFailure> {
    let fresh = learned(seen);
    let first = fresh.config_map(names);
    let applier = Applier::new(cluster);
    // The first time is the common case after an `up`, and needs no look beforehand.
    if applier.create(&first).await? {
        return Ok(());
    }
    let known = read(cluster, names).await?;
    // A switchover that is noted is over, or has not begun, where the set is healthy.
    let now = State { retired: known.retired.clone(), ..fresh };
    if now == known { Ok(()) } else { write(cluster, names, &now).await }
}

/// What an observation of a healthy set tells.
fn learned(seen: &Observation) -> State {
    let template = seen.stateful_set.as_ref().and_then(|set| set.spec.template.spec.as_ref());
    let container = template.and_then(|spec| spec.containers.iter().find(|container| container.name == CONTAINER));
    let primary = seen.primaries().first().copied();
    let server = primary.and_then(|primary| seen.server(primary));
    State {
        system_identifier: server.map(|server| server.system_identifier.clone()),
        primary: primary.map(str::to_owned),
        image: container.and_then(|container| container.image.clone()),
        uid: template.and_then(|spec| spec.security_context.as_ref()?.run_as_user),
        ..State::default()
    }
}
