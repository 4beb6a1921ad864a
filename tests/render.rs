//! What `pgset render` writes, one snapshot for every storage, layout and pair of names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

use std::collections::BTreeMap;
use std::str::FromStr;

use pgset::commands::render::documents;
use pgset::manifests::{Context, Manifests, ObjectKind, Templates, render};
use pgset::settings::{Contract, Crunchy, Flavor, GivenPasswords, Layout, RoleBy, SetMode, Settings, Storage};

fn value<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn settings(storage: Storage, layout: Layout, (namespace, name): (&str, &str)) -> Settings {
    Settings {
        name: value(name),
        namespace: value(namespace),
        image: value("postgres:17"),
        flavor: Flavor::Postgres,
        crunchy: None,
        replicas: value("2"),
        storage,
        layout,
        size: value("1Gi"),
        cpu: value("100m"),
        memory: value("512Mi"),
        database: value("userdb"),
        user: value("testuser"),
        passwords: GivenPasswords {
            superuser: Some(value("must-not-be-seen-1")),
            replication: Some(value("must-not-be-seen-2")),
            user: Some(value("must-not-be-seen-3")),
        },
        postgresql: BTreeMap::from([(value("log_statement"), value("ddl"))]),
        uid: value("999"),
        templates: None,
    }
}

fn built_in(settings: &Settings) -> Manifests {
    render(settings, &Context::new(settings), &Templates::builtin()).unwrap()
}

/// The combinations, each with a name for its snapshot.
fn combinations() -> Vec<(String, Settings)> {
    let storages = [
        ("nfs", Storage::Nfs { server: value("10.0.0.1"), path: value("/nfsfileshare") }),
        ("hostpath", Storage::HostPath { path: value("/nfsfileshare") }),
        ("default-class", Storage::Class { class: None }),
        ("named-class", Storage::Class { class: Some(value("fast")) }),
    ];
    let mut all = Vec::new();
    for (storage_name, storage) in storages {
        for layout in [Layout::Shared, Layout::PerPod] {
            for (names_name, names) in [("default", ("default", "pgset")), ("other", ("shop", "orders"))] {
                let name = format!("{storage_name}-{layout}-{names_name}");
                all.push((name, settings(storage.clone(), layout, names)));
            }
        }
    }
    all
}

#[test]
fn every_combination() {
    for (name, settings) in combinations() {
        let mut manifests = built_in(&settings);
        without_files(&mut manifests);
        insta::assert_snapshot!(name, documents(&manifests));
    }
}

#[test]
fn every_crunchy_contract() {
    let storages = [
        ("nfs", Storage::Nfs { server: value("10.0.0.1"), path: value("/nfsfileshare") }, Layout::Shared),
        ("hostpath", Storage::HostPath { path: value("/nfsfileshare") }, Layout::Shared),
        ("class", Storage::Class { class: None }, Layout::PerPod),
    ];
    for tag in
        ["centos7-9.5-1.2.6", "centos7-9.6-1.2.8", "centos7-10.4-2.0.0", "centos7-11.1-2.3.0", "centos8-13.2-4.6.1"]
    {
        for (storage_name, storage, layout) in &storages {
            let mut settings = settings(storage.clone(), *layout, ("default", "pgset"));
            settings.flavor = Flavor::Crunchy;
            settings.image = value(&format!("crunchydata/crunchy-postgres:{tag}"));
            settings.uid = 26;
            settings.postgresql.clear();
            let contract = Contract::of(&settings.image, None);
            settings.crunchy = Some(Crunchy { contract, role_by: contract.role_by(&settings.name) });
            insta::assert_snapshot!(format!("crunchy-{tag}-{storage_name}"), crunchy(&settings));
            // Chosen the other way, where there is one.
            let role_by = match contract.role_by(&settings.name) {
                RoleBy::Image => RoleBy::Ordinal,
                RoleBy::Ordinal => RoleBy::Image,
            };
            let has_one = role_by == RoleBy::Ordinal || contract.set_mode != SetMode::None;
            if has_one && *storage_name == "nfs" {
                settings.crunchy = Some(Crunchy { contract, role_by });
                insta::assert_snapshot!(format!("crunchy-{tag}-by-{role_by}"), crunchy(&settings));
            }
        }
    }
}

/// The manifests of a Crunchy image but for those that are the same with every image.
fn crunchy(settings: &Settings) -> String {
    let mut manifests = built_in(settings);
    manifests.objects.retain(|object| {
        let storage = [ObjectKind::PersistentVolume, ObjectKind::PersistentVolumeClaim];
        !storage.contains(&object.kind) && object.kind != ObjectKind::PodDisruptionBudget
    });
    without_files(&mut manifests);
    documents(&manifests)
}

/// The files have snapshots and tests of their own; their hash is in every StatefulSet.
fn without_files(manifests: &mut Manifests) {
    for object in &mut manifests.objects {
        match object.kind {
            ObjectKind::ConfigMap => {
                let files = object.body["data"].as_object_mut().unwrap();
                files.values_mut().for_each(|text| *text = "(a file)".into());
            }
            ObjectKind::StatefulSet => {
                object.body["spec"]["template"]["metadata"]["annotations"]["pgset/config-hash"] = "(a hash)".into();
            }
            _ => {}
        }
    }
}

#[test]
fn postgresql_conf() {
    for (name, settings) in combinations().into_iter().filter(|(name, _)| name.starts_with("default-class")) {
        if name.ends_with("other") {
            continue;
        }
        let manifests = built_in(&settings);
        let config = manifests.objects.iter().find(|object| object.kind == ObjectKind::ConfigMap).unwrap();
        let text = config.body["data"]["postgresql.conf"].as_str().unwrap();
        insta::assert_snapshot!(format!("postgresql.conf-{}", settings.layout), text);
    }
}

#[test]
fn the_same_settings_give_the_same_text() {
    for (name, settings) in combinations() {
        assert_eq!(documents(&built_in(&settings)), documents(&built_in(&settings)), "{name}");
    }
}

#[test]
fn no_password_is_written() {
    for (name, settings) in combinations() {
        assert!(!documents(&built_in(&settings)).contains("must-not-be-seen"), "{name}");
    }
}

#[test]
fn the_scripts_arrive_as_they_are() {
    let (_, settings) = &combinations()[0];
    let manifests = built_in(settings);
    let config = manifests.objects.iter().find(|object| object.kind == ObjectKind::ConfigMap).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/scripts");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(config.body["data"][name], std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}
