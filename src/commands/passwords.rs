//! The passwords of a set: its own where it has some, given or generated ones for a new set.

use super::state;
use crate::cluster::{Cluster, SetSecret};
use crate::error::{Failure, Outcome};
use crate::manifests::{Names, Object, Passwords, passwords_secret};
use crate::settings::{GivenPasswords, Password, Settings};

/// The set's passwords, and the Secret to create where there is none yet. One that exists is never overwritten.
/// `said` are those among the settings' that a person gave to pgset: only these can contradict the set's own.
/// `may_have_data` says whether there may be a database already, which would know only the old ones.
///
/// # Errors
/// The Secret cannot be read, is gone while its database is not, or holds other passwords than were given.
pub async fn passwords(
    cluster: &Cluster,
    names: &Names,
    settings: &Settings,
    said: &GivenPasswords,
    may_have_data: bool,
) -> Outcome<(SetSecret, Option<Object>)> {
    let (namespace, secret) = (names.namespace(), names.passwords());
    let given = &settings.passwords;
    if let Some(existing) = SetSecret::read(cluster, namespace, &secret).await? {
        check_given(&existing, said, &secret, namespace)?;
        return Ok((existing, None));
    }
    if may_have_data && state::read(cluster, names).await?.system_identifier.is_some() {
        return Err(Failure::refused(format!(
            "Secret {secret} in namespace {namespace} is gone, but the set has a database, which knows only the old passwords"
        ))
        .hint(format!("put it back from a backup: kubectl -n {namespace} apply -f SECRET.yaml"))
        .hint(format!("or, if the data may go as well: pgset down --delete-data --name {} -n {namespace}", names.set())));
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

/// Passwords from the environment are for new sets; for others they must be what the set has.
fn check_given(existing: &SetSecret, given: &GivenPasswords, secret: &str, namespace: &str) -> Outcome {
    let pairs = [
        ("superuser", "PG_ROOT_PASSWORD", &given.superuser),
        ("replication", "PG_MASTER_PASSWORD", &given.replication),
        ("user", "PG_PASSWORD", &given.user),
    ];
    for (key, variable, given) in pairs {
        if let Some(given) = given
            && existing.get(key) != Some(given.reveal())
        {
            return Err(Failure::refused(format!(
                "{variable} differs from the set's password: Secret {secret} in namespace {namespace} keeps the one the database knows"
            ))
            .hint(format!("unset {variable} to go on with the set's own"))
            .hint(format!(
                "to change it: ALTER ROLE … PASSWORD in the database first, then the Secret's key {key}: kubectl -n {namespace} edit secret {secret}"
            )));
        }
    }
    Ok(())
}
