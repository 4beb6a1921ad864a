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
    let live = Applier::new(cluster).live(&State::default().config_map(names)).await?;
    Ok(live.as_ref().map(State::read).unwrap_or_default())
}

/// Writes the notes.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn write(cluster: &Cluster, names: &Names, state: &State) -> Result<(), ApiFailure> {
    Applier::new(cluster).apply(&state.config_map(names)).await.map(|_| ())
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
    let now = State { retired: known.retired.clone(), ..fresh };
    if now == known { Ok(()) } else { write(cluster, names, &now).await }
}

/// What an observation of a healthy set tells.
fn learned(seen: &Observation) -> State {
    let template = seen.stateful_set.as_ref().and_then(|set| set.spec.template.spec.as_ref());
    let container = template.and_then(|spec| spec.containers.iter().find(|container| container.name == CONTAINER));
    let primary = seen.primaries().first().and_then(|primary| seen.server(primary));
    State {
        system_identifier: primary.map(|server| server.system_identifier.clone()),
        image: container.and_then(|container| container.image.clone()),
        uid: template.and_then(|spec| spec.security_context.as_ref()?.run_as_user),
        ..State::default()
    }
}
