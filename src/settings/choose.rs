//! The settings that depend on each other: the image and what it is, the storage and what belongs to it.

use std::path::PathBuf;

use super::input::{Machine, preferred};
use super::read::{Read, Reader, known};
use super::source::{Source, Sourced};
use super::table::Setting;
use super::types::{
    AbsolutePath, ClassName, Flavor, Image, ImagePrefix, ImageTag, Layout, NfsServer, RoleBy, SetName, StorageKind, Uid,
};
use super::{Contract, Crunchy, CrunchyVersion, Invalid, Storage};

/// What the flags say about the image.
#[derive(Clone, Copy)]
pub(super) struct ImageFlags<'a> {
    pub image: Option<&'a str>,
    pub flavor: Option<&'a str>,
    pub uid: Option<&'a str>,
    pub tag: Option<&'a str>,
    pub prefix: Option<&'a str>,
    pub version: Option<&'a str>,
    pub role_by: Option<&'a str>,
}

pub(super) struct ChosenImage {
    pub image: Image,
    pub flavor: Flavor,
    pub crunchy: Option<Crunchy>,
    pub uid: Uid,
    /// The first of the seed's variables that were given, if any.
    pub seed: Option<Source>,
}

/// Whether a value contradicts what rules it out, or just gives way: what was said to pgset with at least the same weight
/// contradicts.
fn contradicts(value: &Source, other: &Source) -> bool {
    !value.is_seed() && value.rank() >= other.rank()
}

/// `set` is the set's name, which not every Crunchy image can deal with.
pub(super) fn image(reader: &mut Reader<'_>, flags: ImageFlags<'_>, set: &SetName) -> ChosenImage {
    let ImageFlags { image, flavor, uid, tag, prefix, version, role_by } = flags;
    let tag = reader.read::<ImageTag>(Setting::CcpImageTag, tag);
    let prefix = reader.read::<ImagePrefix>(Setting::CcpImagePrefix, prefix);
    let image = reader.read::<Image>(Setting::Image, image);
    let flavor = reader.read::<Flavor>(Setting::Flavor, flavor);
    let uid = reader.read::<Uid>(Setting::Uid, uid);

    if let Some(image) = image.given() {
        for (setting, part) in [
            (Setting::CcpImageTag, tag.given().map(|tag| (tag.value.to_string(), &tag.source))),
            (Setting::CcpImagePrefix, prefix.given().map(|prefix| (prefix.value.to_string(), &prefix.source))),
        ] {
            if let Some((value, source)) = part.filter(|(_, source)| contradicts(source, &image.source)) {
                let reason = format!("is a part of an image's name, and {} gives the whole", image.source);
                let hint = format!("leave out either {source} or {}", image.source);
                reader.refuse(setting, source.clone(), Some(value), reason, Some(hint));
            }
        }
    } else if let (Some(prefix), true) = (prefix.given().filter(|prefix| !prefix.source.is_seed()), tag.is_absent()) {
        let reason = "names the Crunchy image, which needs a tag too".to_owned();
        let hint = "give --ccp-image-tag, or the whole name with --image".to_owned();
        let value = prefix.value.to_string();
        reader.refuse(Setting::CcpImagePrefix, prefix.source.clone(), Some(value), reason, Some(hint));
    }

    let seed = [tag.given().map(|tag| &tag.source), prefix.given().map(|prefix| &prefix.source)];
    let seed = seed.into_iter().flatten().next().cloned();
    let image = match (image, tag) {
        (Read::Absent, Read::Given(tag)) => crunchy(reader, &tag, &prefix),
        (image, _) => image,
    };
    let image = reader.settle(Setting::Image, image, || Sourced {
        value: known("docker.io/library/postgres:17"),
        source: Source::default_because("the official image, a major version that stays until you change it"),
    });
    let image = image.value;
    let flavor = reader.settle(Setting::Flavor, flavor, || Sourced {
        value: if image.base_name().starts_with("crunchy-postgres") { Flavor::Crunchy } else { Flavor::Postgres },
        source: Source::default_because("from the image's name"),
    });
    let crunchy = match flavor.value {
        Flavor::Crunchy => Some(crunchy_image(reader, &image, version, role_by, set)),
        Flavor::Postgres => {
            refuse_for_postgres(reader, version, role_by, &flavor);
            None
        }
    };
    let flavor = flavor.value;
    let uid = reader.settle(Setting::Uid, uid, || {
        let (id, reason) = match flavor {
            Flavor::Crunchy => ("26", "the Crunchy image's postgres user"),
            Flavor::Postgres if image.tag().is_some_and(|tag| tag.contains("alpine")) => {
                ("70", "the postgres user of images on Alpine")
            }
            Flavor::Postgres => ("999", "the official image's postgres user"),
        };
        Sourced { value: known(id), source: Source::default_because(reason) }
    });
    ChosenImage { image, flavor, crunchy, uid: uid.value, seed }
}

/// How a Crunchy image is used: by its version, which its tag tells unless one is given.
fn crunchy_image(
    reader: &mut Reader<'_>,
    image: &Image,
    version: Option<&str>,
    role_by: Option<&str>,
    set: &SetName,
) -> Crunchy {
    let given = match reader.read::<CrunchyVersion>(Setting::CrunchyVersion, version) {
        Read::Given(Sourced { value, source }) => Read::Given(Sourced { value: Some(value), source }),
        Read::Absent => Read::Absent,
        Read::Bad => Read::Bad,
    };
    let version = reader.settle(Setting::CrunchyVersion, given, || {
        let value = image.tag().and_then(CrunchyVersion::of_tag);
        let why = if value.is_some() { "from the image's tag" } else { "the tag does not end in a version" };
        Sourced { value, source: Source::default_because(why) }
    });
    let contract = Contract::by_version(version.value);
    let role_by = reader.read::<RoleBy>(Setting::RoleBy, role_by);
    if let Some(Sourced { value: RoleBy::Image, source }) = role_by.given()
        && let Err(Invalid { reason }) = contract.check_image_roles(set)
    {
        let hint = Some("leave it out: pgset then chooses by the pod's number, --role-by ordinal".to_owned());
        reader.refuse(Setting::RoleBy, source.clone(), Some(RoleBy::Image.to_string()), reason, hint);
    }
    let role_by = reader.settle(Setting::RoleBy, role_by, || {
        let value = contract.role_by(set);
        let why = match value {
            RoleBy::Image => "the image's PG_MODE=set".to_owned(),
            RoleBy::Ordinal => match contract.check_image_roles(set) {
                Err(Invalid { reason }) => reason,
                Ok(()) => "the image's PG_MODE=set fails on today's clusters".to_owned(),
            },
        };
        Sourced { value, source: Source::default_because(why) }
    });
    Crunchy { contract, role_by: role_by.value }
}

/// Notes what was said about a Crunchy image where there is none.
fn refuse_for_postgres(
    reader: &mut Reader<'_>,
    version: Option<&str>,
    role_by: Option<&str>,
    flavor: &Sourced<Flavor>,
) {
    for (setting, flag) in [(Setting::CrunchyVersion, version), (Setting::RoleBy, role_by)] {
        // A variable or a file may be there for another set.
        if let Read::Given(Sourced { value, source: source @ Source::Flag(_) }) = reader.text(setting, flag) {
            let reason = format!("is for Crunchy images, and the flavor is {}", flavor.value);
            let hint = Some("give --flavor crunchy if it is one, or leave it out".to_owned());
            reader.refuse(setting, source, Some(value), reason, hint);
        }
    }
}

/// The seed's image: `PREFIX/crunchy-postgres:TAG`.
fn crunchy(reader: &mut Reader<'_>, tag: &Sourced<ImageTag>, prefix: &Read<ImagePrefix>) -> Read<Image> {
    let prefix = match prefix {
        Read::Given(prefix) => prefix.value.as_str(),
        Read::Absent => "crunchydata",
        Read::Bad => return Read::Bad,
    };
    let value = format!("{prefix}/crunchy-postgres:{}", tag.value);
    reader.parsed(Setting::Image, Sourced { value, source: tag.source.clone() }, |_| Ok(()))
}

/// What the flags say about storage.
#[derive(Clone, Copy)]
pub(super) struct StorageFlags<'a> {
    pub storage: Option<&'a str>,
    pub layout: Option<&'a str>,
    pub class: Option<&'a str>,
    pub nfs_server: Option<&'a str>,
    pub nfs_path: Option<&'a str>,
    pub host_path: Option<&'a str>,
}

/// `seed` is the first of the seed's other variables that were given.
pub(super) fn storage(
    reader: &mut Reader<'_>,
    flags: StorageFlags<'_>,
    seed: Option<&Source>,
    machine: &dyn Machine,
) -> (Storage, Layout) {
    let StorageFlags { storage, layout, class, nfs_server, nfs_path, host_path } = flags;
    let kind = reader.read::<StorageKind>(Setting::Storage, storage);
    let layout = reader.read::<Layout>(Setting::Layout, layout);
    let class = reader.read::<ClassName>(Setting::StorageClass, class);
    let server = read_server(reader, nfs_server);
    let nfs_path = reader.read::<AbsolutePath>(Setting::NfsPath, nfs_path);
    let host_path = reader.read_checked::<AbsolutePath>(Setting::HostPath, host_path, |path| {
        let reason = "expected a folder for the data, not the node's whole file system";
        if path.is_root() { Err(Invalid { reason: reason.to_owned() }) } else { Ok(()) }
    });

    let nfs_given = [nfs_path.given().map(|path| &path.source), server.given().map(|server| &server.source)];
    let bad_kind = matches!(kind, Read::Bad);
    let kind = reader.settle(Setting::Storage, kind, || match seed.or(nfs_given.into_iter().flatten().next()) {
        Some(source) => Sourced {
            value: StorageKind::Nfs,
            source: Source::default_because(format!("as in the 2017 example, because of {source}")),
        },
        None => Sourced { value: StorageKind::Class, source: Source::default_because("") },
    });
    let known_problems = reader.problems.len();
    if !bad_kind {
        for (setting, owner, given) in [
            (Setting::StorageClass, StorageKind::Class, text(&class)),
            (Setting::NfsServer, StorageKind::Nfs, text(&server)),
            (Setting::NfsPath, StorageKind::Nfs, text(&nfs_path)),
            (Setting::HostPath, StorageKind::HostPath, text(&host_path)),
        ] {
            if let Some(given) = given.filter(|_| owner != kind.value) {
                refuse_stranger(reader, setting, owner, &given, &kind);
            }
        }
    }

    let layout = reader.settle(Setting::Layout, layout, || {
        let (value, reason) = match kind.value {
            StorageKind::Nfs | StorageKind::HostPath => (Layout::Shared, "one folder holds every member's"),
            StorageKind::Class => (Layout::PerPod, "a class makes a volume for each member"),
        };
        Sourced { value, source: Source::default_because(reason) }
    });
    let seed_path =
        || Sourced { value: known("/nfsfileshare"), source: Source::default_because("as in the 2017 example") };
    let storage = match kind.value {
        StorageKind::Nfs => Storage::Nfs {
            // Where the kind of storage is in doubt, this machine's address is no matter yet.
            server: settle_server(reader, server, (reader.problems.len() == known_problems).then_some(machine)),
            path: reader.settle(Setting::NfsPath, nfs_path, seed_path).value,
        },
        StorageKind::HostPath => {
            Storage::HostPath { path: reader.settle(Setting::HostPath, host_path, seed_path).value }
        }
        StorageKind::Class => {
            let class = match class {
                Read::Given(Sourced { value, source }) => Read::Given(Sourced { value: Some(value), source }),
                Read::Absent => Read::Absent,
                Read::Bad => Read::Bad,
            };
            let default = || Sourced { value: None, source: Source::default_because("") };
            Storage::Class { class: reader.settle(Setting::StorageClass, class, default).value }
        }
    };
    (storage, layout.value)
}

fn text<T: ToString>(read: &Read<T>) -> Option<Sourced<String>> {
    read.given().map(|given| Sourced { value: given.value.to_string(), source: given.source.clone() })
}

/// Notes a value that belongs to another kind of storage than the one in use.
fn refuse_stranger(
    reader: &mut Reader<'_>,
    setting: Setting,
    owner: StorageKind,
    given: &Sourced<String>,
    kind: &Sourced<StorageKind>,
) {
    let Sourced { value, source } = given;
    if !contradicts(source, &kind.source) {
        return;
    }
    let reason = match &kind.source {
        Source::Default(why) if why.is_empty() => format!("is for storage {owner}, and the default is {}", kind.value),
        Source::Default(why) => format!("is for storage {owner}, and it is {} {why}", kind.value),
        source => format!("is for storage {owner}, and it is {} by {source}", kind.value),
    };
    let hint = match source {
        Source::Flag(flag) => format!("give --storage {owner}, or leave out {flag}"),
        Source::Env(name) => format!("set PGSET_STORAGE={owner}, or unset {name}"),
        _ => format!("write `storage: {owner}` in the settings file, or remove `{}`", setting.key()),
    };
    reader.refuse(setting, source.clone(), Some(value.clone()), reason, Some(hint));
}

fn read_server(reader: &mut Reader<'_>, flag: Option<&str>) -> Read<NfsServer> {
    match reader.text(Setting::NfsServer, flag) {
        Read::Given(mut given) => {
            // `hostname --ip-address` prints every address of a machine that has several.
            let words: Vec<_> = given.value.split_whitespace().map(str::parse).collect();
            if let (true, Ok(addresses)) =
                (given.source == Source::Env("LOCAL_IP"), words.into_iter().collect::<Result<Vec<_>, _>>())
                && let Some(address) = preferred(&addresses)
            {
                given.value = address.to_string();
            }
            reader.parsed(Setting::NfsServer, given, |_| Ok(()))
        }
        Read::Absent => Read::Absent,
        Read::Bad => Read::Bad,
    }
}

/// The NFS server: what was given, else this machine, as in the seed.
fn settle_server(reader: &mut Reader<'_>, server: Read<NfsServer>, machine: Option<&dyn Machine>) -> NfsServer {
    let unknown = Sourced { value: NfsServer::Host(String::new()), source: Source::Machine };
    let Some(machine) = machine.filter(|_| server.is_absent()) else {
        return reader.settle(Setting::NfsServer, server, || unknown).value;
    };
    let hint = Some("give the NFS server's address: --nfs-server ADDRESS, or NFS_SERVER".to_owned());
    let own = machine.addresses().map(|addresses| preferred(&addresses));
    let read = match own {
        Ok(Some(address)) if address.is_loopback() => {
            let reason = "is where this machine's name leads, and no other machine can reach it there".to_owned();
            reader.refuse(Setting::NfsServer, Source::Machine, Some(address.to_string()), reason, hint);
            Read::Bad
        }
        Ok(Some(address)) => Read::Given(Sourced { value: NfsServer::Address(address), source: Source::Machine }),
        Ok(None) => {
            let reason = "this machine's name has no address".to_owned();
            reader.refuse(Setting::NfsServer, Source::Machine, None, reason, hint);
            Read::Bad
        }
        Err(error) => {
            let reason = format!("failed to find this machine's address: {error}");
            reader.refuse(Setting::NfsServer, Source::Machine, None, reason, hint);
            Read::Bad
        }
    };
    reader.settle(Setting::NfsServer, read, || unknown).value
}

/// The base directory, and the templates below it unless others are given.
pub(super) fn folders(
    reader: &mut Reader<'_>,
    buildbase: Option<&str>,
    templates: Option<&str>,
    machine: &dyn Machine,
) -> (Option<Sourced<PathBuf>>, Option<PathBuf>) {
    let buildbase = reader.folder(Setting::BuildBase, buildbase, |path| machine.is_directory(path));
    let templates = reader.folder(Setting::Templates, templates, |path| machine.is_directory(path));
    let buildbase = match buildbase {
        Read::Given(given) => Some(given),
        Read::Absent | Read::Bad => None,
    };
    let templates = match templates {
        Read::Given(Sourced { value, source }) => Read::Given(Sourced { value: Some(value), source }),
        Read::Absent => {
            let below = buildbase.as_ref().map(|base| base.value.join("templates"));
            below
                .filter(|path| machine.is_directory(path))
                .map_or(Read::Absent, |path| Read::Given(Sourced { value: Some(path), source: Source::BuildBase }))
        }
        Read::Bad => Read::Bad,
    };
    let none = || Sourced { value: None, source: Source::default_because("") };
    let templates = reader.settle(Setting::Templates, templates, none).value;
    let base_source = buildbase.as_ref().map_or_else(|| Source::default_because(""), |base| base.source.clone());
    reader.sources.insert(Setting::BuildBase, base_source);
    (buildbase, templates)
}
