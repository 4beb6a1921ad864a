//! Where a set's data lives: `up` does not go elsewhere, and `down` says how to come back.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;

use super::app::App;
use super::base::resolve;
use crate::cli::SettingsFlags;
use crate::cluster::{ApiFailure, Applier, ClassesOnce, Cluster, claims_of};
use crate::error::{Failure, Outcome};
use crate::manifests::{Names, Object, ObjectKind};
use crate::set::Observation;
use crate::set::home::{Home, is_static, other_flags, telling_claim};
use crate::settings::{Settings, Storage};

/// Refuses settings that would start a set with data elsewhere: on empty volumes, or on another folder. Returns the set's
/// claims.
///
/// # Errors
/// The data is elsewhere, or the API server does not answer.
pub async fn guard(
    app: &App,
    cluster: &Cluster,
    classes: &ClassesOnce<'_>,
    names: &Names,
    settings: &Settings,
) -> Outcome<Vec<PersistentVolumeClaim>> {
    let claims = match claims_of(cluster, names.namespace(), names.set()).await {
        // Preflight tells which rights are missing.
        Err(failure) if failure.is_forbidden() => return Ok(Vec::new()),
        claims => claims?,
    };
    let Some(home) = read(cluster, names, &claims).await? else { return Ok(claims) };
    let default_class = default_class(classes, &home, Some(settings)).await?;
    let mut flags = home.flags(Some(settings), default_class.as_deref());
    if flags.is_empty() || (home.differs_by_class_only(settings) && stateful_set_exists(cluster, names).await?) {
        return Ok(claims);
    }
    flags.extend(home.size_flag(Some(settings)));
    let (set, namespace) = (names.set(), names.namespace());
    let failure = Failure::refused(format!(
        "the data of {set} in namespace {namespace} is on {}, and these settings lead elsewhere",
        home.words()
    ));
    Err(failure
        .hint(format!("bring it up where its data is: {}", app.command(&format!("up {}", flags.join(" ")), names)))
        .hint("or make a new set beside it under another name, with --name"))
}

/// The `up` that brings this set back as it is.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn way_back(app: &App, cluster: &Cluster, names: &Names, seen: &Observation) -> Outcome<String> {
    // What the environment and the settings file say by themselves needs no flag.
    let bare = resolve(app, &SettingsFlags::default()).ok().map(|found| found.resolved.settings);
    let bare = bare.as_ref();
    let mut words = vec!["up".to_owned()];
    if let Some(home) = read(cluster, names, &seen.claims).await? {
        let default_class = default_class(&ClassesOnce::new(cluster), &home, bare).await?;
        words.extend(home.flags(bare, default_class.as_deref()));
        words.extend(home.size_flag(bare));
    }
    words.extend(other_flags(seen, bare));
    Ok(app.command(&words.join(" "), names))
}

async fn read(cluster: &Cluster, names: &Names, claims: &[PersistentVolumeClaim]) -> Result<Option<Home>, ApiFailure> {
    let static_claim = telling_claim(names, claims).filter(|claim| is_static(claim));
    let bound = static_claim.and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
    let volume = match bound {
        Some(name) => {
            let volume = Object { kind: ObjectKind::PersistentVolume, namespace: None, name, body: Value::Null };
            match Applier::new(cluster).live(&volume).await {
                Err(failure) if failure.is_forbidden() => None,
                volume => volume?,
            }
        }
        None => None,
    };
    Ok(Home::read(names, claims, volume.as_ref()))
}

/// The cluster's default class, where it decides anything.
async fn default_class(
    classes: &ClassesOnce<'_>,
    home: &Home,
    settings: Option<&Settings>,
) -> Result<Option<String>, ApiFailure> {
    let unnamed = settings.is_none_or(|settings| settings.storage == Storage::Class { class: None });
    match &home.storage {
        Some(Storage::Class { class: Some(class) }) if unnamed => Ok(match classes.get().await? {
            Some(classes) => classes.default().map(str::to_owned),
            // Who may not look is not told to change anything.
            None => Some(class.to_string()),
        }),
        _ => Ok(None),
    }
}

async fn stateful_set_exists(cluster: &Cluster, names: &Names) -> Result<bool, ApiFailure> {
    let set = Object {
        kind: ObjectKind::StatefulSet,
        namespace: Some(names.namespace().to_owned()),
        name: names.statefulset().to_owned(),
        body: Value::Null,
    };
    Ok(Applier::new(cluster).live(&set).await?.is_some())
}
