//! Flag, environment, file and default become [`Resolved`]. Pure: everything from outside comes in [`Inputs`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::choose::{self, ChosenImage, ImageFlags, StorageFlags};
use super::file::SettingsFile;
use super::input::{Context, Env, Machine};
use super::read::{Read, Reader, known};
use super::source::{Problem, Source, Sourced};
use super::table::Setting;
use super::types::{
    Flavor, Invalid, Layout, Namespace, Password, PgIdentifier, PgSetting, PgValue, Quantity, Replicas, SetName,
    StorageKind, Timeout,
};
use super::{GivenPasswords, Settings};
use crate::cli::{Common, SettingsFlags};

/// Everything settings are resolved from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub common: &'a Common,
    pub flags: &'a SettingsFlags,
    pub env: &'a Env,
    pub file: &'a SettingsFile,
    pub context: Context<'a>,
}

/// The settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub settings: Settings,
    pub timeout: Timeout,
    /// The crunchy-containers checkout.
    pub buildbase: Option<PathBuf>,
    pub sources: Sources,
}

impl Resolved {
    /// The passwords that a person gave to pgset, without those that a checkout's manifests have.
    #[must_use]
    pub fn passwords_given(&self) -> GivenPasswords {
        let is_given = |setting| self.sources.settings.get(&setting).is_some_and(Source::is_given);
        let GivenPasswords { superuser, replication, user } = self.settings.passwords.clone();
        GivenPasswords {
            superuser: superuser.filter(|_| is_given(Setting::SuperuserPassword)),
            replication: replication.filter(|_| is_given(Setting::ReplicationPassword)),
            user: user.filter(|_| is_given(Setting::UserPassword)),
        }
    }
}

/// Where each value came from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Only the settings that are in use: no NFS server where storage is a class.
    pub settings: BTreeMap<Setting, Source>,
    pub parameters: BTreeMap<PgSetting, Source>,
}

/// Which set a command is about: all that commands without settings flags need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: SetName,
    pub namespace: Namespace,
    pub timeout: Timeout,
}

/// Which cluster: what has to be known before the kubeconfig is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    pub context: Option<String>,
    pub kubeconfig: Option<PathBuf>,
    /// Whom to act as, in place of the kubeconfig's own user.
    pub as_user: Option<String>,
    pub as_groups: Vec<String>,
}

/// Which cluster a command talks to.
///
/// # Errors
///
/// When the settings file, or what was given for the context, cannot be used.
pub fn connection(common: &Common, env: &Env, file: &SettingsFile) -> Result<Connection, Vec<Problem>> {
    let mut reader = Reader::new(env, file);
    let context = match reader.text(Setting::Context, common.context.as_deref()) {
        Read::Given(given) => Some(given.value).filter(|context| !context.is_empty()),
        Read::Absent | Read::Bad => None,
    };
    let kubeconfig = common.kubeconfig.clone();
    let (as_user, as_groups) = (common.as_user.clone(), common.as_groups.clone());
    let connection = Connection { context, kubeconfig, as_user, as_groups };
    if reader.problems.is_empty() { Ok(connection) } else { Err(reader.problems) }
}

/// What has to be known before a base directory can be read: where it is, and which of its variants is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub buildbase: Option<PathBuf>,
    pub storage: Option<StorageKind>,
    pub layout: Option<Layout>,
}

/// The wishes among what was given. What is wrong is no wish here, and told by [`resolve`].
#[must_use]
pub fn wishes(flags: &SettingsFlags, env: &Env, file: &SettingsFile, machine: &dyn Machine) -> Wishes {
    let mut reader = Reader::new(env, file);
    let buildbase = reader.folder(Setting::BuildBase, flags.buildbase.as_deref(), |path| machine.is_directory(path));
    Wishes {
        buildbase: buildbase.given().map(|given| given.value.clone()),
        storage: reader.read(Setting::Storage, flags.storage.as_deref()).given().map(|given| given.value),
        layout: reader.read(Setting::Layout, flags.layout.as_deref()).given().map(|given| given.value),
    }
}

/// Which set a command is about. `namespace` is the one of the kubeconfig's context.
///
/// # Errors
///
/// Everything that is wrong with what was given, at once.
pub fn target(
    common: &Common,
    env: &Env,
    file: &SettingsFile,
    namespace: Option<&str>,
) -> Result<Target, Vec<Problem>> {
    let mut reader = Reader::new(env, file);
    let target = read_target(&mut reader, common, namespace);
    if reader.problems.is_empty() { Ok(target) } else { Err(reader.problems) }
}

fn read_target(reader: &mut Reader<'_>, common: &Common, context_namespace: Option<&str>) -> Target {
    // Taken apart in full, so that a flag that is added cannot be forgotten here.
    let Common {
        namespace,
        name,
        context: _,
        kubeconfig: _,
        as_user: _,
        as_groups: _,
        timeout,
        yes: _,
        quiet: _,
        verbose: _,
        color: _,
    } = common;
    let name = reader.read(Setting::Name, name.as_deref());
    let name = reader.settle(Setting::Name, name, plain("pgset")).value;
    let namespace = match (reader.read(Setting::Namespace, namespace.as_deref()), context_namespace) {
        (Read::Absent, Some(text)) if !text.is_empty() => {
            let given = Sourced { value: text.to_owned(), source: Source::Kubeconfig };
            reader.parsed(Setting::Namespace, given, |_| Ok(()))
        }
        (read, _) => read,
    };
    let namespace = reader.settle(Setting::Namespace, namespace, plain("default")).value;
    let timeout = reader.read(Setting::Timeout, timeout.as_deref());
    let timeout = reader.settle(Setting::Timeout, timeout, plain("10m")).value;
    Target { name, namespace, timeout }
}

/// A default that needs no reason.
fn plain<T: std::str::FromStr<Err = Invalid>>(text: &'static str) -> impl FnOnce() -> Sourced<T> {
    because(text, "")
}

fn because<T: std::str::FromStr<Err = Invalid>>(text: &'static str, why: &'static str) -> impl FnOnce() -> Sourced<T> {
    move || Sourced { value: known(text), source: Source::default_because(why) }
}

/// The settings of a set.
///
/// # Errors
///
/// Everything that is wrong with what was given, at once.
#[allow(clippy::too_many_lines, reason = "one statement a setting, and every flag taken apart in one place")]
pub fn resolve(inputs: &Inputs<'_>) -> Result<Resolved, Vec<Problem>> {
    let Inputs { common, flags, env, file, context: Context { namespace, machine } } = *inputs;
    let SettingsFlags {
        file: _,
        replicas,
        cpu,
        memory,
        templates,
        image,
        flavor,
        uid,
        ccp_image_tag,
        ccp_image_prefix,
        crunchy_version,
        role_by,
        buildbase,
        as_is: _, // Not a setting: how the checkout's manifests are taken.
        storage,
        size,
        layout,
        storage_class,
        nfs_server,
        nfs_path,
        host_path,
        database,
        user,
        set_parameter,
    } = flags;
    let mut reader = Reader::new(env, file);
    let reader = &mut reader;

    let Target { name, namespace, timeout } = read_target(reader, common, namespace);
    let (buildbase, templates) = choose::folders(reader, buildbase.as_deref(), templates.as_deref(), machine);
    let ChosenImage { image, flavor, crunchy, uid, seed } = choose::image(
        reader,
        ImageFlags {
            image: image.as_deref(),
            flavor: flavor.as_deref(),
            uid: uid.as_deref(),
            tag: ccp_image_tag.as_deref(),
            prefix: ccp_image_prefix.as_deref(),
            version: crunchy_version.as_deref(),
            role_by: role_by.as_deref(),
        },
        &name,
    );
    let replicas = reader.read::<Replicas>(Setting::Replicas, replicas.as_deref());
    let replicas = reader.settle(Setting::Replicas, replicas, because("2", "a primary and a replica")).value;
    let seed = buildbase.as_ref().map(|base| base.source.clone()).or(seed);
    let (storage, layout) = choose::storage(
        reader,
        StorageFlags {
            storage: storage.as_deref(),
            layout: layout.as_deref(),
            class: storage_class.as_deref(),
            nfs_server: nfs_server.as_deref(),
            nfs_path: nfs_path.as_deref(),
            host_path: host_path.as_deref(),
        },
        seed.as_ref(),
        machine,
    );
    let size = reader.read_checked(Setting::Size, size.as_deref(), Quantity::check_size);
    let size = reader.settle(Setting::Size, size, plain("1Gi")).value;
    let cpu = reader.read_checked(Setting::Cpu, cpu.as_deref(), Quantity::check_cpu);
    let cpu = reader.settle(Setting::Cpu, cpu, plain("100m")).value;
    let memory = reader.read_checked(Setting::Memory, memory.as_deref(), Quantity::check_memory);
    let memory = reader.settle(Setting::Memory, memory, plain("512Mi")).value;
    let (database, user) = names(reader, database.as_deref(), user.as_deref(), flavor);
    let passwords = GivenPasswords {
        superuser: password(reader, Setting::SuperuserPassword, flavor),
        replication: password(reader, Setting::ReplicationPassword, flavor),
        user: password(reader, Setting::UserPassword, flavor),
    };
    let (postgresql, parameters) = read_parameters(reader, set_parameter, file);
    if flavor == Flavor::Crunchy {
        refuse_parameters(reader, &postgresql, &parameters);
    }

    if !reader.problems.is_empty() {
        return Err(std::mem::take(&mut reader.problems));
    }
    Ok(Resolved {
        settings: Settings {
            name,
            namespace,
            image,
            flavor,
            crunchy,
            replicas,
            storage,
            layout,
            size,
            cpu,
            memory,
            database,
            user,
            passwords,
            postgresql,
            uid: uid.get(),
            templates,
        },
        timeout,
        buildbase: buildbase.map(|base| base.value),
        sources: Sources { settings: std::mem::take(&mut reader.sources), parameters },
    })
}

/// The database and its owner.
fn names(
    reader: &mut Reader<'_>,
    database: Option<&str>,
    user: Option<&str>,
    flavor: Flavor,
) -> (PgIdentifier, PgIdentifier) {
    let database = reader.read_checked(Setting::Database, database, PgIdentifier::check_database);
    let database = reader.settle(Setting::Database, database, because("userdb", "as in the 2017 example"));
    let user = reader.read_checked(Setting::User, user, PgIdentifier::check_role);
    let user = reader.settle(Setting::User, user, because("testuser", "as in the 2017 example"));
    if flavor == Flavor::Crunchy {
        for (setting, name) in [(Setting::Database, &database), (Setting::User, &user)] {
            reader.check(setting, &name.source, name.value.as_str(), name.value.check_crunchy());
        }
    }
    (database.value, user.value)
}

fn password(reader: &mut Reader<'_>, setting: Setting, flavor: Flavor) -> Option<Password> {
    let check = |password: &Password| match flavor {
        Flavor::Crunchy => password.check_crunchy(),
        Flavor::Postgres => Ok(()),
    };
    let read = match reader.read_checked(setting, None, check) {
        Read::Given(Sourced { value, source }) => Read::Given(Sourced { value: Some(value), source }),
        Read::Absent | Read::Bad => Read::Absent,
    };
    let generated = || Sourced { value: None, source: Source::default_because("kept in a Secret") };
    reader.settle(setting, read, generated).value
}

/// A Crunchy image has a postgresql.conf of its own, written once.
fn refuse_parameters(
    reader: &mut Reader<'_>,
    values: &BTreeMap<PgSetting, String>,
    sources: &BTreeMap<PgSetting, Source>,
) {
    for (name, source) in sources {
        let value = values.get(name).filter(|_| !PgSetting::may_hold_secret(name.as_str()));
        let text = value.map_or_else(|| name.to_string(), |value| format!("{name}={value}"));
        let reason = "the Crunchy image writes postgresql.conf itself, when it initialises the primary".to_owned();
        let hint =
            format!("once the set runs: pgset psql -U postgres -c \"alter system set {name} = …\", then pgset restart");
        reader.refuse(Setting::Parameters, source.clone(), Some(text), reason, Some(hint));
    }
}

/// Extra parameters by name: the file's, replaced one by one by the environment's, and these by the flags'.
fn read_parameters(
    reader: &mut Reader<'_>,
    flags: &[String],
    file: &SettingsFile,
) -> (BTreeMap<PgSetting, String>, BTreeMap<PgSetting, Source>) {
    let mut given = Vec::new();
    for (name, Sourced { value, source }) in &file.parameters {
        given.push((Some(name.clone()), value.clone(), source.clone()));
    }
    let pair = |text: &str, source| match text.split_once('=') {
        Some((name, value)) => (Some(name.trim().to_owned()), value.trim().to_owned(), source),
        None => (None, text.to_owned(), source),
    };
    if let Read::Given(Sourced { value, source }) = reader.text(Setting::Parameters, None) {
        given.extend(value.lines().filter(|line| !line.trim().is_empty()).map(|line| pair(line, source.clone())));
    }
    given.extend(flags.iter().map(|text| pair(text, Source::Flag("--set-parameter"))));

    let (mut values, mut sources) = (BTreeMap::new(), BTreeMap::new());
    for (name, value, source) in given {
        let Some(name) = name else {
            let reason = "expected NAME=VALUE, like work_mem=16MB".to_owned();
            reader.refuse(Setting::Parameters, source, Some(value), reason, None);
            continue;
        };
        let parsed = name.parse::<PgSetting>().and_then(|name| Ok((name, value.parse::<PgValue>()?)));
        match parsed {
            Ok((name, value)) => {
                values.insert(name.clone(), value.as_str().to_owned());
                sources.insert(name, source);
            }
            Err(Invalid { reason }) => {
                let value = if PgSetting::may_hold_secret(&name) { "***" } else { &value };
                reader.refuse(Setting::Parameters, source, Some(format!("{name}={value}")), reason, None);
            }
        }
    }
    (values, sources)
}
