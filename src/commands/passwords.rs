//! The passwords of a set: its own where it has some, given or generated ones for a new set.

use k8s_openapi::api::core::v1::PodSpec;

use super::state;
use crate::cluster::{Cluster, SetSecret, live_set};
use crate::error::{Failure, Outcome};
use crate::manifests::{Names, Object, Passwords, passwords_secret};
use crate::set::own::{Origin, logins_of};
use crate::settings::{Flavor, GivenPasswords, Password, Settings};

/// The set's passwords, and the Secret to create where there is none yet. One that exists is never overwritten.
/// `said` are those among the settings' that a person gave to pgset: only these can contradict the set's own.
/// `pod` is the pod of a checkout's manifest, which may name Secrets of its own.
/// `may_have_data` says whether there may be a database already, which would know only the old ones.
///
/// # Errors
/// The Secret cannot be read, is gone while its database is not, or holds other passwords than were given.
pub async fn passwords(
    cluster: &Cluster,
    names: &Names,
    settings: &Settings,
    said: &GivenPasswords,
    pod: Option<&PodSpec>,
    may_have_data: bool,
) -> Outcome<(SetSecret, Option<Object>)> {
    let (namespace, secret) = (names.namespace(), names.passwords());
    if let Some(existing) = SetSecret::read(cluster, namespace, &secret).await? {
        check_given(&existing, said, names)?;
        return Ok((existing, None));
    }
    // A set that was taken as it is has its passwords in its own manifests, and the database knows those.
    let live = if may_have_data { live_set(cluster, namespace, names.set()).await? } else { None };
    let own = SetSecret::of_set(cluster, names, live.as_ref(), Ok(None)).await?;
    let mut given = settings.passwords.clone();
    if let Some(own) = &own {
        check_given(own, said, names)?;
        for (key, given) in by_key(&mut given) {
            *given = own.get(key).and_then(|password| password.parse().ok()).or(given.take());
        }
    } else if may_have_data && state::read(cluster, names).await?.system_identifier.is_some() {
        return Err(Failure::refused(format!(
            "Secret {secret} in namespace {namespace} is gone, but the set has a database, which knows only the old passwords"
        ))
        .hint(format!("put it back from a backup: kubectl -n {namespace} apply -f SECRET.yaml"))
        .hint(format!("or, if the data may go as well: pgset down --delete-data --name {} -n {namespace}", names.set())));
    }
    if let (None, Some(pod)) = (&own, pod) {
        from_secrets(cluster, names, settings, pod, &mut given).await?;
    }
    let or_new = |given: &Option<Password>| given.clone().map_or_else(Password::generate, Ok);
    let passwords = Passwords {
        superuser: or_new(&given.superuser)?,
        replication: or_new(&given.replication)?,
        user: or_new(&given.user)?,
    };
    let object = passwords_secret(settings, &passwords);
    Ok((SetSecret::of(&object), Some(object)))
}

fn by_key(given: &mut GivenPasswords) -> [(&'static str, &mut Option<Password>); 3] {
    let GivenPasswords { superuser, replication, user } = given;
    [("superuser", superuser), ("replication", replication), ("user", user)]
}

/// Adds the passwords that a checkout's manifest takes from Secrets of its own, where none are given.
async fn from_secrets(
    cluster: &Cluster,
    names: &Names,
    settings: &Settings,
    pod: &PodSpec,
    given: &mut GivenPasswords,
) -> Outcome {
    let namespace = names.namespace();
    let logins = logins_of(pod, &names.passwords());
    for (key, given) in by_key(given) {
        let origin = logins.iter().find(|login| login.key == key).map(|login| &login.password);
        let (None, Some(Origin::Secret { secret, key: entry })) = (&given, origin) else { continue };
        let read = SetSecret::read(cluster, namespace, secret).await?;
        let failed = |problem: String| {
            let (_, variable) = VARIABLES.into_iter().find(|(known, _)| *known == key).unwrap_or_default();
            Failure::error(format!(
                "the checkout's StatefulSet takes the password {key} from Secret {secret}, and in namespace {namespace} {problem}"
            ))
            .hint(format!("mend it there: kubectl -n {namespace} create secret generic {secret} --from-literal={entry}=…"))
            .hint(format!("or give one to pgset: export {variable}=…"))
        };
        let Some(read) = read else { return Err(failed("there is none".to_owned())) };
        let Some(text) = read.get(entry) else { return Err(failed(format!("that has no key {entry}"))) };
        let checked = text.parse::<Password>().and_then(|password| match settings.flavor {
            Flavor::Crunchy => password.check_crunchy().map(|()| password),
            Flavor::Postgres => Ok(password),
        });
        *given = Some(checked.map_err(|reason| failed(format!("its key {entry} will not do: {reason}")))?);
    }
    Ok(())
}

/// Which variable gives which password.
const VARIABLES: [(&str, &str); 3] =
    [("superuser", "PG_ROOT_PASSWORD"), ("replication", "PG_MASTER_PASSWORD"), ("user", "PG_PASSWORD")];

/// Which Secret has a password, and how it is changed there.
fn secret_words(namespace: &str, secret: &str, key: &str) -> (String, String) {
    (format!("Secret {secret}"), format!("the Secret's key {key}: kubectl -n {namespace} edit secret {secret}"))
}

/// Passwords from the environment are for new sets; for others they must be what the set has.
fn check_given(existing: &SetSecret, given: &GivenPasswords, names: &Names) -> Outcome {
    let (namespace, passwords) = (names.namespace(), names.passwords());
    let given = [&given.superuser, &given.replication, &given.user];
    for ((key, variable), given) in VARIABLES.into_iter().zip(given) {
        if let Some(given) = given
            && existing.get(key) != Some(given.reveal())
        {
            let (keeper, change) = match existing.origin(key) {
                None => secret_words(namespace, &passwords, key),
                Some(Origin::Secret { secret, key }) => secret_words(namespace, secret, key),
                Some(Origin::Variable { name, .. }) => {
                    (format!("StatefulSet {}", names.set()), format!("{name} of its manifest"))
                }
            };
            return Err(Failure::refused(format!(
                "{variable} differs from the set's password: {keeper} in namespace {namespace} keeps the one the database knows"
            ))
            .hint(format!("unset {variable} to go on with the set's own"))
            .hint(format!("to change it: ALTER ROLE … PASSWORD in the database first, then {change}")));
        }
    }
    Ok(())
}
