//! What the whole of the module promises: shapes that no value changes, errors that name file and line.

use std::collections::BTreeMap;

use super::*;
use crate::commands::render::documents;
use crate::settings::*;

/// A set as the defaults make it.
fn settings() -> Settings {
    Settings {
        name: SetName::unchecked("pgset"),
        namespace: Namespace::unchecked("default"),
        image: Image::unchecked("postgres:17"),
        flavor: Flavor::Postgres,
        replicas: "2".parse().unwrap(),
        storage: Storage::Class { class: None },
        layout: Layout::PerPod,
        size: Quantity::unchecked("1Gi"),
        cpu: Quantity::unchecked("100m"),
        memory: Quantity::unchecked("512Mi"),
        database: PgIdentifier::unchecked("userdb"),
        user: PgIdentifier::unchecked("testuser"),
        passwords: GivenPasswords::default(),
        postgresql: BTreeMap::new(),
        uid: 999,
        templates: None,
    }
}

fn built_in(settings: &Settings) -> Manifests {
    render(settings, &Context::new(settings), &Templates::builtin()).unwrap()
}

#[test]
fn renders() {
    let mut s = settings();
    println!("{}", documents(&built_in(&s)));
    s.layout = Layout::Shared;
    s.storage = Storage::Nfs { server: NfsServer::Host("nfs".into()), path: AbsolutePath::unchecked("/x") };
    println!("{}", documents(&built_in(&s)));
}
