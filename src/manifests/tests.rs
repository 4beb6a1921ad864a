//! What the whole of the module promises: no value changes a manifest's shape, and an error names file and line.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::Context;
use super::*;
use crate::commands::render::documents;
use crate::settings::{
    AbsolutePath, ClassName, Flavor, GivenPasswords, Image, Layout, Namespace, NfsServer, Password, PgIdentifier,
    PgSetting, Quantity, SetName, Settings, Storage,
};
use crate::yaml;

/// What stands for a value that is about to be replaced by a hostile one.
const MARKER: &str = "x-harmless-x";

/// A set on its own StorageClass.
fn settings() -> Settings {
    Settings {
        name: SetName::unchecked("db"),
        namespace: Namespace::unchecked("shop"),
        image: Image::unchecked("postgres:17"),
        flavor: Flavor::Postgres,
        crunchy: None,
        replicas: "2".parse().unwrap(),
        storage: Storage::Class { class: Some(ClassName::unchecked("fast")) },
        layout: Layout::PerPod,
        size: "1Gi".parse().unwrap(),
        cpu: "100m".parse().unwrap(),
        memory: "512Mi".parse().unwrap(),
        database: PgIdentifier::unchecked("userdb"),
        user: PgIdentifier::unchecked("testuser"),
        passwords: GivenPasswords::default(),
        postgresql: BTreeMap::new(),
        uid: "999".parse().unwrap(),
        templates: None,
    }
}

fn nfs(server: &str, path: &str) -> Storage {
    Storage::Nfs { server: NfsServer::Host(server.to_owned()), path: AbsolutePath::unchecked(path) }
}

fn built_in(settings: &Settings) -> Manifests {
    render(settings, &Context::new(settings), &Templates::builtin()).unwrap()
}

// ---- hostile values

type Put = fn(&mut Settings, &str);

/// Every place where a text enters, with the way to put one there.
const PLACES: &[(&str, Put)] = &[
    ("name", |s, text| s.name = SetName::unchecked(text)),
    ("namespace", |s, text| s.namespace = Namespace::unchecked(text)),
    ("image", |s, text| s.image = Image::unchecked(text)),
    ("class", |s, text| s.storage = Storage::Class { class: Some(ClassName::unchecked(text)) }),
    ("class of a shared claim", |s, text| {
        s.storage = Storage::Class { class: Some(ClassName::unchecked(text)) };
        s.layout = Layout::Shared;
    }),
    ("nfs server", |s, text| s.storage = nfs(text, "/data")),
    ("nfs path", |s, text| s.storage = nfs("server", text)),
    ("host path", |s, text| s.storage = Storage::HostPath { path: AbsolutePath::unchecked(text) }),
    ("size", |s, text| s.size = Quantity::unchecked(text, 1 << 30)),
    ("cpu", |s, text| s.cpu = Quantity::unchecked(text, 1)),
    ("memory", |s, text| s.memory = Quantity::unchecked(text, 1 << 30)),
    ("database", |s, text| s.database = PgIdentifier::unchecked(text)),
    ("user", |s, text| s.user = PgIdentifier::unchecked(text)),
];

/// Every scalar of every object, by its path.
fn leaves(manifests: &Manifests) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(entries) => entries.iter().for_each(|(k, v)| walk(&format!("{path}/{k:?}"), v, into)),
            Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| walk(&format!("{path}/{i}"), v, into)),
            _ => assert!(into.insert(path.to_owned(), value.clone()).is_none()),
        }
    }
    let mut all = BTreeMap::new();
    for (index, object) in manifests.objects.iter().enumerate() {
        walk(&format!("{index}/{}", object.kind.as_str()), &object.body, &mut all);
    }
    all
}

/// Renders with `text` at `place` and asserts that nothing but that value is different from a harmless one.
fn arrives_verbatim(place: &str, put: Put, text: &str) {
    let mut harmless = settings();
    put(&mut harmless, MARKER);
    let mut hostile = settings();
    put(&mut hostile, text);
    let hostile = built_in(&hostile);
    let mut expected = leaves(&built_in(&harmless));
    let mut arrivals = 0;
    for (path, value) in &mut expected {
        if let Value::String(found) = value
            && found.contains(MARKER)
        {
            let expanded_by_kubernetes = path.contains("/\"env\"/") && (place == "database" || place == "user");
            let text = if expanded_by_kubernetes { text.replace('$', "$$") } else { text.to_owned() };
            *found = found.replace(MARKER, &text);
            arrivals += 1;
        }
    }
    assert!(arrivals > 0, "{place} is in no manifest");
    let found = leaves(&hostile);
    let different = |(path, value): &(&String, &Value)| expected.get(*path) != Some(value);
    assert_eq!(found.iter().find(different), None, "{place}");
    assert_eq!(found.len(), expected.len(), "{place}");
    // And the stream a person applies says the same.
    let stream = yaml::documents(&documents(&hostile)[header_length(&hostile)..]).unwrap();
    let bodies: Vec<Value> = hostile.objects.into_iter().map(|object| object.body).collect();
    assert_eq!(stream, bodies, "{place}");
}

/// The comment at the top holds names, whose types allow no line break; hostile ones are not parsed as YAML.
fn header_length(manifests: &Manifests) -> usize {
    let only_header = Manifests { objects: Vec::new(), notes: Notes::default() };
    assert_eq!(documents(&only_header), "");
    let bodies: usize = manifests.objects.iter().map(|object| 4 + yaml::to_string(&object.body).len()).sum();
    documents(manifests).len() - bodies
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "\\",
        "\n",
        "\r\n",
        "\t",
        " ",
        ": ",
        "- ",
        "#",
        "---",
        "...",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a",
        "*a",
        "!!str ",
        "|",
        ">",
        "%",
        "@",
        "`",
        "?",
        "~",
        "null",
        "true",
        "0x1f",
        "1e3",
        "{{ set }}",
        "{% raw %}",
        "{#",
        "#}",
        "{{",
        "}}",
        "%}",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffe}",
        "ü",
        "日本",
        "🐘",
        "\u{e000}",
        "spec:\n  replicas: 99\n",
        "\\u0022",
        "$(POD_NAME)",
    ]);
    prop_oneof![
        8 => prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat()),
        2 => any::<String>(),
        1 => any::<char>().prop_map(|c| c.to_string().repeat(10_000 / c.len_utf8())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_value_changes_a_manifests_shape((place, put) in prop::sample::select(PLACES), text in hostile()) {
        arrives_verbatim(place, put, &text);
    }

    #[test]
    fn no_value_leaves_its_line_of_postgresql_conf(text in hostile()) {
        prop_assume!(!text.contains('\0'));
        let mut settings = settings();
        let before = conf(&settings).lines().count();
        // Some types allow less; what they allow is tested, and so is what they do not.
        settings.postgresql.insert(PgSetting::unchecked("log_line_prefix"), value(&text));
        let conf = conf(&settings);
        let line = conf.strip_suffix('\n').unwrap().split('\n').next_back().unwrap();
        let quoted = line.strip_prefix("log_line_prefix = '").unwrap().strip_suffix('\'').unwrap();
        prop_assert_eq!(as_postgresql_reads(quoted), text);
        prop_assert_eq!(conf.split('\n').count(), before + 4);
    }
}

fn conf(settings: &Settings) -> String {
    let manifests = built_in(settings);
    let config = manifests.objects.iter().find(|object| object.kind == ObjectKind::ConfigMap).unwrap();
    config.body["data"]["postgresql.conf"].as_str().unwrap().to_owned()
}

/// What PostgreSQL makes of the inside of a quoted value: `DeescapeQuotedString` of its `guc-file.l`.
fn as_postgresql_reads(quoted: &str) -> String {
    let mut out = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\'' || c == '\\') {
            (_, false) => out.push(c),
            ('\'', _) => {
                assert_eq!(chars.next(), Some('\''), "an unescaped quote ends the value");
                out.push('\'');
            }
            _ => match chars.next().unwrap() {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
        }
    }
    out
}

#[test]
fn postgresql_conf_refuses_what_it_cannot_hold() {
    for (name, text, reason) in [
        ("log_line_prefix", "a\0b", "a value cannot contain a zero byte"),
        ("a = 1\nb", "x", "not the name of a parameter"),
        ("", "x", "not the name of a parameter"),
    ] {
        let mut settings = settings();
        settings.postgresql.insert(PgSetting::unchecked(name), value(text));
        let error = render(&settings, &Context::new(&settings), &Templates::builtin()).unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

#[test]
fn postgresql_conf_follows_the_settings() {
    let mut settings = settings();
    assert!(conf(&settings).contains("\nwork_mem = 1310kB\n"));
    settings.postgresql.insert(PgSetting::unchecked("max_connections"), value("200"));
    let conf_of_17 = conf(&settings);
    assert!(conf_of_17.contains("\nwork_mem = 1MB\n"), "{conf_of_17}");
    assert!(conf_of_17.ends_with("\nmax_connections = '200'\n"), "{conf_of_17}");
    assert!(conf_of_17.contains("\nwal_keep_size = 64MB\n") && !conf_of_17.contains("\nwal_keep_segments"));
    settings.image = "registry.example:5000/db/postgres:12.22-alpine".parse().unwrap();
    let conf_of_12 = conf(&settings);
    assert!(conf_of_12.contains("\nwal_keep_segments = 4\n") && !conf_of_12.contains("\nwal_keep_size"));
    assert!(!conf_of_12.contains("max_slot_wal_keep_size"), "{conf_of_12}");
}

#[test]
fn a_changed_setting_changes_the_pods_and_scaling_does_not() {
    let annotation = |settings: &Settings, replicas| {
        let context = Context { replicas, ..Context::new(settings) };
        let manifests = render(settings, &context, &Templates::builtin()).unwrap();
        let set = manifests.objects.last().unwrap();
        set.body["spec"]["template"]["metadata"]["annotations"]["pgset/config-hash"].as_str().unwrap().to_owned()
    };
    let mut settings = settings();
    let before = annotation(&settings, 2);
    assert_eq!(before.len(), 64);
    assert_eq!(annotation(&settings, 5), before);
    settings.memory = "1Gi".parse().unwrap();
    assert_ne!(annotation(&settings, 2), before);
}

// ---- template errors

/// The error of a template in which `from` is replaced by `to`, with the folder taken off.
fn error_of(name: &str, from: &str, to: &str) -> String {
    let dir = TempDir::new().unwrap();
    let (_, text) = built_in_template(name);
    assert!(text.contains(from), "{name} does not contain {from:?}");
    fs::write(dir.path().join(name), text.replacen(from, to, 1)).unwrap();
    let mut settings = settings();
    settings.storage = nfs("server", "/data");
    settings.layout = Layout::Shared;
    let error = Templates::load(Some(dir.path()))
        .and_then(|templates| render(&settings, &Context::new(&settings), &templates))
        .unwrap_err();
    error.to_string().replace(&format!("{}/", dir.path().display()), "")
}

fn built_in_template(name: &str) -> (String, String) {
    let dir = TempDir::new().unwrap();
    Templates::eject(dir.path()).unwrap();
    (name.to_owned(), fs::read_to_string(dir.path().join(name)).unwrap())
}

/// The line of a built-in template on which `part` first stands.
fn line(name: &str, part: &str) -> usize {
    1 + built_in_template(name).1.lines().position(|line| line.contains(part)).unwrap()
}

#[test]
fn an_error_names_the_templates_file_and_line() {
    let set = "statefulset.yaml";
    for (name, from, to, at, problem) in [
        (set, "{{ replicas }}", "{{ replicas", line(set, "{{ replicas }}") + 1, "expected"),
        (set, "{{ replicas }}", "{{ replicsa }}", line(set, "{{ replicas }}"), "replicsa"),
        (set, "{% endif %}", "", 0, ""),
        (set, "kind: StatefulSet", "kind: Deployment", 3, "expected kind \"StatefulSet\", found \"Deployment\""),
        (set, "apps/v1", "apps/v1beta1", 2, "expected apiVersion \"apps/v1\", found \"apps/v1beta1\""),
        (set, "  name: {{ statefulset }}\n", "", 4, "expected metadata.name \"db\", found none"),
        (
            set,
            "namespace: {{ namespace }}",
            "namespace: other",
            6,
            "expected metadata.namespace \"shop\", found \"other\"",
        ),
        (
            set,
            "readinessProbe:",
            "readynessProbe:",
            line(set, "readinessProbe:"),
            "Kubernetes knows no such field in a StatefulSet: spec.template.spec.containers[0].readynessProbe",
        ),
        (
            set,
            "            claimName:",
            "            claim:",
            line(set, "claimName:"),
            "Kubernetes knows no such field in a StatefulSet: spec.template.spec.volumes[0].persistentVolumeClaim.claim",
        ),
        (
            set,
            "containerPort: 5432",
            "containerPort: http",
            line(set, "containerPort: 5432"),
            "spec.template.spec.containers[0].ports[0].containerPort: invalid type: string \"http\", expected i32",
        ),
        (
            set,
            "    spec:\n",
            "    spec:\n\tx: 1\n",
            line(set, "    spec:") + 1,
            "found character that cannot start any token, while",
        ),
        ("service.yaml", "spec:", "spec:\n  clusterIP: None", line("service.yaml", "  clusterIP"), ""),
        (
            "configmap.yaml",
            "  {% endfor %}",
            "  {% endfor %}\nextra: {}",
            line("configmap.yaml", "{% endfor %}") + 1,
            "extra",
        ),
        (
            "persistentvolume.yaml",
            "  name: {{ volume.name }}",
            "  name: {{ volume.name }}\n  namespace: {{ namespace }}",
            line("persistentvolume.yaml", "volume.name") + 1,
            "expected no metadata.namespace: the object belongs to no namespace",
        ),
        ("postgresql.conf", "{%- endfor %}", "", 0, ""),
    ] {
        let error = error_of(name, from, to);
        let expected = if at == 0 { format!("{name}:") } else { format!("{name}:{at}: ") };
        assert!(error.starts_with(&expected), "expected {expected}, got {error}");
        assert!(error.contains(problem), "expected {problem}, got {error}");
    }
}

#[test]
fn a_folder_of_templates_holds_only_templates() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(".gitignore"), "x").unwrap();
    assert!(Templates::load(Some(dir.path())).is_ok());
    fs::write(dir.path().join("statefulsets.yaml"), "x").unwrap();
    let error = Templates::load(Some(dir.path())).unwrap_err();
    assert_eq!(error.to_string(), format!("{}/statefulsets.yaml: no template has this name", dir.path().display()));
    assert!(
        error.hints()[0].contains("statefulset.yaml, statefulset-crunchy.yaml, postgresql.conf, scripts/"),
        "{:?}",
        error.hints()
    );
    let missing = dir.path().join("missing");
    let error = Templates::load(Some(&missing)).unwrap_err();
    assert_eq!(error.to_string(), format!("failed to read {}", missing.display()));
}

#[test]
fn ejected_templates_render_the_same_and_are_never_overwritten() {
    let dir = TempDir::new().unwrap();
    let written = Templates::eject(&dir.path().join("new")).unwrap();
    let templates = Templates::load(Some(&dir.path().join("new"))).unwrap();
    let settings = settings();
    let rendered = render(&settings, &Context::new(&settings), &templates).unwrap();
    assert_eq!(rendered.objects, built_in(&settings).objects);
    fs::remove_file(&written[1]).unwrap();
    fs::write(&written[0], "mine").unwrap();
    let error = Templates::eject(&dir.path().join("new")).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: the file exists already", written[0].display()));
    assert!(!written[1].exists(), "a refused eject writes nothing");
    assert_eq!(fs::read_to_string(&written[0]).unwrap(), "mine");
}

#[test]
fn every_file_under_templates_is_built_in() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut names = Vec::new();
    for dir in ["", "scripts/", "crunchy/"] {
        for entry in fs::read_dir(format!("{root}/{dir}")).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                names.push(format!("{dir}{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    names.sort();
    let dir = TempDir::new().unwrap();
    let ejected = Templates::eject(dir.path()).unwrap();
    let mut ejected: Vec<&str> =
        ejected.iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
    ejected.sort_unstable();
    assert_eq!(ejected, names);
}

// ---- the objects that no template makes

fn value<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

#[test]
fn the_secret_and_the_state_are_objects_kubernetes_takes() {
    let settings = settings();
    let password = |text: &str| value::<Password>(text);
    let passwords = Passwords { superuser: password("a'\"b:\\"), replication: password("c"), user: password("d") };
    let secret = passwords_secret(&settings, &passwords);
    assert_eq!(secret.body["stringData"]["superuser"], "a'\"b:\\");
    let names = Names::new(&settings.name, &settings.namespace);
    let retired = BTreeMap::from([("db-2".to_owned(), "t2".to_owned()), ("db-3".to_owned(), "t3".to_owned())]);
    let promotion = Promotion { from: "db-0".to_owned(), to: "db-1".to_owned(), told: true };
    let known = State {
        system_identifier: Some("7412345678901234567".to_owned()),
        retired,
        primary: Some("db-0".to_owned()),
        promotion: Some(promotion),
        ..State::default()
    };
    let state = known.config_map(&names);
    assert_eq!(State::read(&state.body), known);
    assert_eq!(state.body["data"]["system-identifier"], "7412345678901234567");
    assert_eq!(state.body["data"]["retired"], "db-2 t2\ndb-3 t3\n");
    assert_eq!(state.body["data"]["promotion"], "db-0 db-1 told");
    assert!(State::default().config_map(&names).body["data"].get("system-identifier").is_none());
    for object in [secret, state] {
        let expected = check::Expected { kind: object.kind, namespace: Some("shop"), name: &object.name };
        assert_eq!(check::object(&yaml::to_string(&object.body), &expected), Ok(object));
    }
}

#[test]
fn two_sets_never_meet() {
    let names = |set: &str, namespace: &str| Names::new(&value(set), &value(namespace));
    assert_eq!(names("pgset", "default").volume(1), "pv1");
    assert_eq!(names("pgset", "other").volume(1), "other.pgset.pv1");
    assert_eq!(names("a-b", "c").volume(1), "c.a-b.pv1");
    assert_ne!(names("b", "c-a").volume(1), names("a-b", "c").volume(1));
    assert_eq!(names("pgset", "default").member_claim(2), "pgdata-pgset-2");
}
