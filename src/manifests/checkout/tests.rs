//! Checkouts of several versions become sets: what is recognised, what changes and what stays, and that nothing hostile
//! gets through.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser as _;
use proptest::prelude::*;
use serde_json::json;

use super::rules::RULES;
use super::*;
use crate::cli::{Cli, Command};
use crate::manifests::{Context, ManifestError, Object, ObjectKind, Templates, render};
use crate::settings::{Inputs, Machine, Resolved, SettingsFile, resolve};

const SET: &str = "examples/kube/statefulset/set.json";

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().copied().collect()
}

/// The texts of a fixture, to be changed by a test.
fn texts(fixture: &str) -> Texts {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    read::read(&root).expect("readable").expect("a checkout")
}

fn edited(fixture: &str, file: &str, from: &str, to: &str) -> Texts {
    let mut texts = texts(fixture);
    let place = texts.manifests.iter_mut().find(|(name, _)| name.ends_with(&format!("/{file}"))).expect(file);
    assert!(place.1.contains(from), "{file} has no {from}");
    place.1 = place.1.replacen(from, to, 1);
    texts
}

/// A machine at 10.0.0.1, as `hostname --ip-address` would find.
struct Here;

impl Machine for Here {
    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn addresses(&self) -> std::io::Result<Vec<std::net::IpAddr>> {
        Ok(vec![[10, 0, 0, 1].into()])
    }
}

/// A run of pgset over these texts.
struct Run<'a> {
    texts: Texts,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

impl Run<'_> {
    fn resolved(&self, checkout: &Checkout, as_is: bool) -> (Resolved, Base) {
        let words = ["pgset", "up"].iter().chain(self.flags);
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let Command::Up(up) = cli.command else { panic!("another command") };
        let env = env(self.env);
        let wishes = crate::settings::wishes(&up.settings, &env, &SettingsFile::default(), &Here);
        let per_pod = wishes.storage == Some(StorageKind::Class);
        let below = checkout.settings(wishes.storage, per_pod).expect("settings");
        let file = SettingsFile::default().over(below);
        let context = crate::settings::Context { namespace: None, machine: &Here };
        let inputs = Inputs { common: &cli.common, flags: &up.settings, env: &env, file: &file, context };
        let resolved = resolve(&inputs).unwrap_or_else(|problems| panic!("{problems:?}"));
        let sources = resolved.sources.settings.clone();
        (resolved, Base { checkout: checkout.clone(), sources, as_is })
    }

    fn manifests(self) -> Result<Manifests, ManifestError> {
        let as_is = self.flags.contains(&"--as-is");
        let checkout = Checkout::new(&self.texts, &env(self.env))?;
        let (resolved, base) = self.resolved(&checkout, as_is);
        let settings = &resolved.settings;
        render(settings, &Context::new(settings), &Templates::builtin().below(Some(base)))
    }

    #[track_caller]
    fn good(self) -> Manifests {
        self.manifests().unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn error(self) -> String {
        match self.manifests() {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }
}

const TAG: (&str, &str) = ("CCP_IMAGE_TAG", "centos7-9.6-1.2.8");

fn seed<'a>(flags: &'a [&'a str]) -> Run<'a> {
    Run { texts: texts("checkout-1.2.8"), env: &[TAG], flags }
}

fn of<'a>(manifests: &'a Manifests, kind: ObjectKind, name: &str) -> &'a Value {
    let found = manifests.objects.iter().find(|object| object.kind == kind && object.name == name);
    &found.unwrap_or_else(|| panic!("no {} {name}", kind.as_str())).body
}

fn container(manifests: &Manifests) -> &Value {
    let set = manifests.objects.iter().find(|object| object.kind == ObjectKind::StatefulSet).expect("a StatefulSet");
    &set.body["spec"]["template"]["spec"]["containers"][0]
}

fn fired(manifests: &Manifests) -> BTreeSet<&'static str> {
    manifests.notes.upgrades.iter().map(|upgrade| upgrade.name).collect()
}

#[test]
fn the_seeds_files_and_exports_are_settings() {
    let checkout = Checkout::new(&texts("checkout-1.2.8"), &env(&[])).expect("a checkout");
    let settings = checkout.settings(None, false).expect("settings");
    let lines: Vec<String> = settings
        .iter()
        .filter(|(setting, _)| !setting.is_secret())
        .map(|(setting, Sourced { value, source })| format!("{} {value} ({source})", setting.key()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    name pgset (examples/kube/statefulset/set.json: .metadata.name)
    ccp-image-tag centos7-9.6-1.2.8 (examples/envvars.sh:10)
    ccp-image-prefix crunchydata (examples/kube/statefulset/set.json: .spec.template.spec.containers[0].image)
    replicas 2 (examples/kube/statefulset/set.json: .spec.replicas)
    storage nfs (examples/kube/statefulset/pv1.json)
    nfs-path /nfsfileshare (examples/envvars.sh:5)
    layout shared (examples/kube/statefulset/pvc.json)
    size 100M (examples/kube/statefulset/pvc.json: .spec.resources.requests.storage)
    database userdb (examples/kube/statefulset/set.json: .spec.template.spec.containers[0].env PG_DATABASE)
    user testuser (examples/kube/statefulset/set.json: .spec.template.spec.containers[0].env PG_USER)
    ");
    let passwords = settings.iter().filter(|(setting, _)| setting.is_secret());
    assert!(passwords.clone().count() == 3 && passwords.into_iter().all(|(_, given)| given.value == "password"));
    assert_eq!(
        checkout.ignored(),
        [
            "examples/envvars.sh:9 is ignored: it is no export",
            "examples/envvars.sh:11 is ignored: it is no export",
            "examples/envvars.sh:12 is ignored: it is no export",
        ]
    );
    assert_eq!(checkout.others(), ["cleanup.sh", "notes.txt", "run.sh"]);
}

#[test]
fn the_environment_beats_the_exports_and_variables_reach_into_values() {
    let texts = edited("checkout-1.2.8", "pv1.json", "\"$NFS_PATH\"", "\"${NFS_PATH}/mine\"");
    let checkout = Checkout::new(&texts, &env(&[("NFS_PATH", "/other")])).expect("a checkout");
    let settings = checkout.settings(None, false).expect("settings");
    assert_eq!(settings[&Setting::NfsPath].value, "/other/mine");
    assert_eq!(settings[&Setting::NfsPath].source.to_string(), "examples/kube/statefulset/pv1.json: .spec.nfs.path");
}

#[test]
fn the_seed_becomes_a_set_of_today() {
    let manifests = seed(&[]).good();
    let names: Vec<String> =
        manifests.objects.iter().map(|object| format!("{} {}", object.kind.as_str(), object.name)).collect();
    for name in [
        "PersistentVolume pv1",
        "PersistentVolume pv3",
        "PersistentVolumeClaim pgset-pvc",
        "ServiceAccount pgset-sa",
        "Service pgset",
        "Service pgset-master",
        "Service pgset-replica",
        "StatefulSet pgset",
        "PodDisruptionBudget pgset",
    ] {
        assert!(names.iter().any(|found| found == name), "no {name} in {names:?}");
    }
    let set = of(&manifests, ObjectKind::StatefulSet, "pgset");
    assert_eq!(
        (&set["apiVersion"], &set["spec"]["selector"]),
        (&json!("apps/v1"), &json!({"matchLabels": {"app": "pgset"}}))
    );
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &pod["serviceAccount"]), (&json!("pgset-sa"), &Value::Null));
    let text = documents(&manifests);
    assert!(!text.contains("PASSWORD") && !text.contains("nodePort") && !text.contains('$'), "{text}");
    assert_eq!(container(&manifests)["image"], "crunchydata/crunchy-postgres:centos7-9.6-1.2.8");
    let volume = of(&manifests, ObjectKind::PersistentVolume, "pv1");
    assert_eq!(volume["spec"]["nfs"], json!({"server": "10.0.0.1", "path": "/nfsfileshare"}));
    assert_eq!(
        (&volume["spec"]["capacity"]["storage"], &volume["spec"]["storageClassName"]),
        (&json!("150M"), &json!(""))
    );
    assert_eq!(volume["spec"]["claimRef"]["name"], "pgset-pvc");
    // The port of the headless Service keeps the name that the example gave it.
    assert_eq!(of(&manifests, ObjectKind::Service, "pgset")["spec"]["ports"], json!([{"name": "web", "port": 5432}]));
    let master = of(&manifests, ObjectKind::Service, "pgset-master");
    assert_eq!(master["spec"]["selector"], json!({"statefulset.kubernetes.io/pod-name": "pgset-0"}));
    let expected = [
        "apps-v1",
        "selector",
        "service-account-name",
        "storage-class",
        "claim-ref",
        "mount-options",
        "node-port",
        "primary-by-pod",
        "mode",
        "secrets",
        "probes",
        "pre-stop",
        "security-context",
        "resources",
        "placement",
    ];
    for rule in expected {
        assert!(fired(&manifests).contains(rule), "{rule} did nothing: {:?}", fired(&manifests));
    }
    assert_eq!(manifests.notes.replaced, Vec::<String>::new());
    assert!(
        manifests.notes.left_out.iter().any(|line| line.contains("StatefulSet pgset (set.json.dynamic)")),
        "{:?}",
        manifests.notes
    );
}

fn documents(manifests: &Manifests) -> String {
    let objects = manifests.objects.iter().filter(|object| object.kind != ObjectKind::ConfigMap);
    objects.map(|object| crate::yaml::to_string(&object.body)).collect()
}

/// Everything in `own` that `object` has not; lists of named things by their names.
fn lacks(own: &Value, object: &Value, at: &str, found: &mut Vec<String>) {
    match (own, object) {
        (Value::Object(own), Value::Object(object)) => {
            for (key, value) in own {
                match object.get(key) {
                    Some(other) => lacks(value, other, &format!("{at}.{key}"), found),
                    None => found.push(format!("{at}.{key}")),
                }
            }
        }
        (Value::Array(own), Value::Array(object)) if own.iter().all(|item| item["name"].is_string()) => {
            for item in own {
                let key = if item["mountPath"].is_string() { "mountPath" } else { "name" };
                if !object.iter().any(|other| other[key] == item[key]) {
                    found.push(format!("{at}[{}]", item[key]));
                }
            }
        }
        _ => {}
    }
}

// A field that a template gains has to be taken in by a rule, or this fails.
#[test]
fn nothing_of_pgsets_own_objects_is_forgotten() {
    for flags in [&[][..], &["--storage", "hostpath"], &["--storage", "class"]] {
        let checkout = Checkout::new(&texts("checkout-1.2.8"), &env(&[TAG])).expect("a checkout");
        let (resolved, base) = seed(flags).resolved(&checkout, false);
        let settings = &resolved.settings;
        let own = render(settings, &Context::new(settings), &Templates::builtin()).expect("templates");
        let built = base.build(own.clone(), settings).expect("built");
        let mut found = Vec::new();
        for Object { kind, name, body, .. } in &own.objects {
            let at = format!("{} {name}", kind.as_str());
            let other = built.objects.iter().find(|other| other.kind == *kind && other.name == *name);
            lacks(body, &other.unwrap_or_else(|| panic!("no {at}")).body, &at, &mut found);
        }
        // The checkout's own ports stay.
        found.retain(|at| !at.ends_with(".spec.ports[\"postgres\"]"));
        assert_eq!(found, Vec::<String>::new(), "{flags:?}");
    }
}

#[test]
fn as_is_changes_the_version_and_what_was_given_alone() {
    let manifests = seed(&["--as-is", "--replicas", "3"]).good();
    assert_eq!(fired(&manifests), BTreeSet::from(["apps-v1", "selector"]));
    let text = documents(&manifests);
    assert!(
        text.contains("PG_ROOT_PASSWORD") && text.contains("nodePort: 0") && !text.contains("readinessProbe"),
        "{text}"
    );
    assert_eq!(of(&manifests, ObjectKind::StatefulSet, "pgset")["spec"]["replicas"], 3);
    assert!(!manifests.objects.iter().any(|object| matches!(object.kind, ObjectKind::Role | ObjectKind::ConfigMap)));
}

#[test]
fn settings_that_were_given_win_and_are_told() {
    let flags = [
        "--storage",
        "hostpath",
        "--host-path",
        "/srv/pg",
        "--replicas",
        "3",
        "--size",
        "2Gi",
        "--name",
        "orders",
        "-n",
        "shop",
        "--database",
        "shop",
    ];
    let manifests = seed(&flags).good();
    insta::assert_snapshot!(manifests.notes.replaced.join("\n"));
    let volume = of(&manifests, ObjectKind::PersistentVolume, "shop.orders.pv1");
    assert_eq!(volume["spec"]["hostPath"], json!({"path": "/srv/pg", "type": "Directory"}));
    assert_eq!((&volume["spec"]["nfs"], &volume["spec"]["mountOptions"]), (&Value::Null, &Value::Null));
    let master = of(&manifests, ObjectKind::Service, "orders-master");
    assert_eq!(
        (&master["metadata"]["namespace"], &master["metadata"]["labels"]["app"]),
        (&json!("shop"), &json!("orders"))
    );
    let replica = of(&manifests, ObjectKind::Service, "orders-replica");
    assert_eq!(replica["spec"]["selector"], json!({"name": "orders-replica"}));
    let set = of(&manifests, ObjectKind::StatefulSet, "orders");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels["name"]), (&json!("orders"), &json!("orders-replica")));
    assert!(
        !documents(&manifests).contains("pgset-"),
        "{}",
        documents(&manifests).lines().filter(|l| l.contains("pgset-")).collect::<String>()
    );
}

#[test]
fn what_a_person_edited_stays() {
    let mut texts = edited("checkout-1.2.8", "set-master-service.json", "\"port\": 5432", "\"port\": 6543");
    let mut change = |file: &str, change: &dyn Fn(&mut Value)| {
        let place = texts.manifests.iter_mut().find(|(name, _)| name.ends_with(file)).expect(file);
        let mut body: Value = serde_json::from_str(&place.1).expect("JSON");
        change(&mut body);
        place.1 = body.to_string();
    };
    change("/pvc.json", &|claim| claim["spec"]["resources"]["requests"]["storage"] = "10Gi".into());
    change("/set-replica-service.json", &|service| service["spec"]["selector"]["zone"] = "a".into());
    change("/set.json", &|set| {
        set["metadata"]["annotations"] = json!({"team": "db"});
        let template = &mut set["spec"]["template"];
        template["metadata"]["labels"]["team"] = "db".into();
        template["metadata"]["annotations"] = json!({"scrape": "true"});
        template["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        let sidecar = json!({"name": "exporter", "image": "exporter:1", "args": ["$(POD)"]});
        let containers = template["spec"]["containers"].as_array_mut().expect("containers");
        containers.insert(0, sidecar);
        let main = &mut containers[1];
        main["env"].as_array_mut().expect("env").push(json!({"name": "MAX_CONNECTIONS", "value": "50"}));
        main["resources"] = json!({"requests": {"cpu": "2", "memory": "3Gi"}, "limits": {"memory": "4Gi"}});
        main["readinessProbe"] = json!({"tcpSocket": {"port": 5432}});
    });
    let manifests = Run { texts, env: &[TAG], flags: &[] }.good();
    let port = &of(&manifests, ObjectKind::Service, "pgset-master")["spec"]["ports"][0];
    assert_eq!((&port["port"], &port["targetPort"], &port["nodePort"]), (&json!(6543), &json!(5432), &Value::Null));
    assert_eq!(
        of(&manifests, ObjectKind::PersistentVolumeClaim, "pgset-pvc")["spec"]["resources"]["requests"]["storage"],
        "10Gi"
    );
    // Its volumes have to be large enough, or nothing binds.
    assert_eq!(of(&manifests, ObjectKind::PersistentVolume, "pv2")["spec"]["capacity"]["storage"], "10Gi");
    let replica = &of(&manifests, ObjectKind::Service, "pgset-replica")["spec"]["selector"];
    assert_eq!(*replica, json!({"name": "pgset-replica", "zone": "a"}));
    let set = of(&manifests, ObjectKind::StatefulSet, "pgset");
    let template = &set["spec"]["template"];
    assert_eq!(
        (&set["metadata"]["annotations"]["team"], &template["metadata"]["labels"]["team"]),
        (&json!("db"), &json!("db"))
    );
    assert_eq!(template["metadata"]["annotations"]["scrape"], "true");
    assert_eq!(template["spec"]["nodeSelector"], json!({"disk": "ssd"}));
    let containers = template["spec"]["containers"].as_array().expect("containers");
    assert_eq!(
        (&containers[0]["name"], &containers[1]["name"], containers.len()),
        (&json!("pgset"), &json!("exporter"), 2)
    );
    let main = container(&manifests);
    assert!(main["env"].as_array().expect("env").contains(&json!({"name": "MAX_CONNECTIONS", "value": "50"})));
    assert_eq!(main["resources"], json!({"requests": {"cpu": "2", "memory": "3Gi"}, "limits": {"memory": "4Gi"}}));
    assert_eq!(main["readinessProbe"], json!({"tcpSocket": {"port": 5432}}));
    assert!(main["startupProbe"].is_object());
}

#[test]
fn other_objects_are_taken_in_or_left_out_and_named() {
    let mut texts = texts("checkout-1.2.8");
    let folder = "examples/kube/statefulset";
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, labels: {team: db}}\ndata: {a: b}\n";
    let taken = texts.manifests.clone();
    let metrics = "apiVersion: v1\nkind: Service\nmetadata: {name: metrics}\nspec: {ports: [{port: 9187}], selector: {app: pgset}}\n";
    let policy =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: wall}\nspec: {podSelector: {}}\n";
    texts.manifests.push((format!("{folder}/zz.yaml"), [config, metrics, policy].join("---\n")));
    let manifests = Run { texts, env: &[TAG], flags: &["-n", "shop"] }.good();
    let config = of(&manifests, ObjectKind::ConfigMap, "mine");
    assert_eq!(
        (&config["metadata"]["namespace"], &config["metadata"]["labels"]["team"]),
        (&json!("shop"), &json!("db"))
    );
    assert_eq!(config["metadata"]["labels"]["app.kubernetes.io/managed-by"], "pgset");
    assert_eq!(of(&manifests, ObjectKind::Service, "metrics")["spec"]["selector"], json!({"app": "pgset"}));
    let notes = &manifests.notes;
    assert!(
        notes.added.iter().any(|line| line.starts_with("ConfigMap mine of ") && line.ends_with("is taken in")),
        "{notes:?}"
    );
    assert!(notes.left_out.iter().any(|line| line.starts_with("NetworkPolicy wall in ")), "{notes:?}");
    for kind in ["Secret", "ConfigMap"] {
        let name = if kind == "Secret" { "pgset-passwords" } else { "pgset-config" };
        let text = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}}}}}");
        let manifests = [&taken[..], &[(format!("{folder}/zz.yaml"), text)]].concat();
        let error = Run { texts: Texts { manifests, ..Texts::default() }, env: &[TAG], flags: &[] }.error();
        assert!(
            error.ends_with("zz.yaml: .metadata.name: is the name of an object that pgset makes itself"),
            "{error}"
        );
    }
}

#[test]
fn a_class_takes_the_variant_for_it() {
    let manifests = seed(&["--storage", "class", "--storage-class", "fast"]).good();
    let set = of(&manifests, ObjectKind::StatefulSet, "pgset");
    let template = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(
        (&template["spec"]["storageClassName"], &template["spec"]["resources"]),
        (&json!("fast"), &json!({"requests": {"storage": "100M"}}))
    );
    assert_eq!(template["metadata"]["annotations"], Value::Null);
    assert_eq!(set["spec"]["template"]["metadata"]["labels"]["name"], "pgset-replica");
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    assert!(!volumes.iter().any(|volume| volume["persistentVolumeClaim"].is_object()), "{volumes:?}");
    assert!(!manifests.objects.iter().any(|object| object.kind == ObjectKind::PersistentVolumeClaim));
    assert!(!manifests.notes.left_out.iter().any(|line| line.contains("set.json.dynamic")), "{:?}", manifests.notes);
    // Without the variant, the one StatefulSet is made to ask for a claim each.
    let mut alone = texts("checkout-1.2.8");
    alone.manifests.retain(|(name, _)| !name.ends_with(".dynamic"));
    let manifests = Run { texts: alone, env: &[TAG], flags: &["--storage", "class"] }.good();
    let set = of(&manifests, ObjectKind::StatefulSet, "pgset");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "100M");
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    assert!(!volumes.iter().any(|volume| volume["name"] == "pgdata"), "{volumes:?}");
    let checkout = Checkout::new(&texts("checkout-1.2.8"), &env(&[TAG])).expect("a checkout");
    let settings = checkout.settings(Some(StorageKind::Class), true).expect("settings");
    assert_eq!((settings[&Setting::Layout].value.as_str(), settings.get(&Setting::Storage)), ("per-pod", None));
}

#[test]
fn later_versions_are_recognised() {
    let env_of = [
        ("CCP_IMAGE_TAG", "centos7-10.4-2.0.0"),
        ("CCP_IMAGE_PREFIX", "crunchydata"),
        ("CCP_NAMESPACE", "demo"),
        ("CCP_STORAGE_PATH", "/nfs"),
        ("CCP_NFS_IP", "10.0.0.7"),
        ("CCP_STORAGE_CAPACITY", "1G"),
        ("CCP_SECURITY_CONTEXT", "\"fsGroup\":26, \"supplementalGroups\": [65534]"),
    ];
    let checkout = Checkout::new(&texts("checkout-4.1"), &env(&env_of)).expect("a checkout");
    let settings = checkout.settings(None, false).expect("settings");
    let of_setting = |setting: Setting| format!("{} ({})", settings[&setting].value, settings[&setting].source);
    assert_eq!(of_setting(Setting::Namespace), "demo (CCP_NAMESPACE)");
    assert_eq!(of_setting(Setting::NfsServer), "10.0.0.7 (CCP_NFS_IP)");
    assert_eq!(of_setting(Setting::Size), "1G (CCP_STORAGE_CAPACITY)");
    let path = "/nfs/demo-statefulset (examples/kube/statefulset/statefulset-pv-nfs.json (PersistentVolume $CCP_NAMESPACE-statefulset-pgdata-0): .spec.nfs.path)";
    assert_eq!(of_setting(Setting::NfsPath), path);
    let manifests = Run { texts: texts("checkout-4.1"), env: &env_of, flags: &[] }.good();
    let set = of(&manifests, ObjectKind::StatefulSet, "statefulset");
    assert_eq!(set["metadata"]["labels"]["cleanup"], "demo-statefulset");
    let groups = &set["spec"]["template"]["spec"]["securityContext"];
    assert_eq!((&groups["fsGroup"], &groups["supplementalGroups"]), (&json!(26), &json!([65534])));
    let master = of(&manifests, ObjectKind::Service, "statefulset-master");
    assert_eq!(master["metadata"]["labels"]["cleanup"], "demo-statefulset");
    let claim = of(&manifests, ObjectKind::PersistentVolumeClaim, "statefulset-pvc");
    assert_eq!((&claim["spec"]["selector"], &claim["spec"]["accessModes"]), (&Value::Null, &json!(["ReadWriteMany"])));
    let notes = &manifests.notes;
    assert!(notes.replaced[0].contains("Service statefulset-primary is statefulset-master"), "{notes:?}");
    // Clients know it by that name.
    let alias = of(&manifests, ObjectKind::Service, "statefulset-primary");
    assert_eq!((&alias["spec"], &alias["metadata"]["labels"]["app"]), (&master["spec"], &json!("statefulset")));
}

#[test]
fn what_is_not_what_it_should_be_is_told_with_file_and_place() {
    let run = |file: &str, from: &str, to: &str| {
        Run { texts: edited("checkout-1.2.8", file, from, to), env: &[TAG], flags: &[] }.error()
    };
    for (file, from, to, expected) in [
        ("set.json", "\"kind\"", "kind", "set.json:3: key must be a string"),
        (
            "set.json",
            "\"apiVersion\": \"apps/v1beta1\"",
            "\"apiVersion\": \"batch/v1\"",
            "set.json: .apiVersion: expected apps/v1",
        ),
        (
            "set.json",
            "$CCP_IMAGE_TAG",
            "$CCP_IMAGE_TAGS",
            "set.json: .spec.template.spec.containers[0].image: unknown variable $CCP_IMAGE_TAGS",
        ),
        (
            "set.json",
            "\"containers\": [",
            "\"containers\": [7, ",
            "set.json: .spec.template.spec.containers[0]: expected a container",
        ),
        (
            "set.json",
            "\"containerPort\": 5432",
            "\"containerPort\": \"many\"",
            "set.json: spec.template.spec.containers[0].ports[0].containerPort: invalid type",
        ),
        (
            "set.json",
            "\"volumeMounts\"",
            "\"volumeMounst\"",
            "set.json: Kubernetes knows no such field in a StatefulSet: spec.template.spec.containers[0].volumeMounst",
        ),
        (
            "set-service.json",
            "\"ports\": [{\"name\": \"web\", \"port\": 5432}]",
            "\"ports\": 5432",
            "set-service.json: .spec.ports: expected a list",
        ),
        ("set-service.json", "\"name\": \"pgset\", ", "", "set-service.json: .metadata.name: expected a text"),
        ("pv2.json", "\"nfs\"", "\"iscsi\"", "pv2.json: .spec: expected a volume on nfs or hostPath"),
        ("pvc.json", "{", "[{", "pvc.json:"),
        ("set-sa.json", "\"ServiceAccount\"", "5", "set-sa.json: .kind: expected a text"),
    ] {
        let error = run(file, from, to);
        assert!(error.starts_with("examples/kube/statefulset/") && error.contains(expected), "{expected}\n{error}");
    }
    let mut twice = texts("checkout-1.2.8");
    let copy = twice.manifests.iter().find(|(name, _)| name == SET).expect("set.json").1.clone();
    twice.manifests.push(("examples/kube/statefulset/zz.json".to_owned(), copy));
    let error = Run { texts: twice, env: &[TAG], flags: &[] }.error();
    assert!(
        error.contains("zz.json: StatefulSet pgset has the same part as the one in examples/kube/statefulset/set.json"),
        "{error}"
    );
    let mut none = texts("checkout-1.2.8");
    none.manifests.retain(|(name, _)| !name.contains("/set.json"));
    let checkout = Checkout::new(&none, &env(&[])).expect("a checkout");
    let error = checkout.settings(None, false).expect_err("no StatefulSet").to_string();
    assert_eq!(error, "examples/kube/statefulset: expected a StatefulSet in one of the files, found none");
}

// ---- rule by rule ---------------------------------------------------------------------------------------------------

/// What a rule makes of an object, given pgset's own.
fn ruled(name: &str, object: &Value, own: &Value) -> Value {
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"));
    let mut object = object.clone();
    rule.apply(&mut object, own);
    let once = object.clone();
    rule.apply(&mut object, own);
    assert_eq!(object, once, "{name} is not done when it is done");
    once
}

/// A pod's template around a container and the rest of its specification.
fn pod(container: &Value, mut spec: Value) -> Value {
    spec["containers"] = json!([container]);
    json!({"spec": {"template": {"spec": spec}}})
}

#[test]
fn rules_have_names_of_their_own_and_a_line_each() {
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    assert!(RULES.iter().all(|rule| !rule.why.contains('\n') && rule.why.len() < 130), "too long for a line");
    assert_eq!(
        RULES.iter().filter(|rule| rule.always).map(|rule| rule.name).collect::<Vec<_>>(),
        ["apps-v1", "selector", "current-api"]
    );
}

#[test]
fn rules_about_versions_and_names() {
    let own = json!({"apiVersion": "apps/v1", "spec": {"selector": {"matchLabels": {"app": "x"}}}});
    assert_eq!(ruled("apps-v1", &json!({"apiVersion": "apps/v1beta1"}), &own), json!({"apiVersion": "apps/v1"}));
    let old = json!({"spec": {"selector": {"matchLabels": {"app": "x", "name": "x-replica"}}, "replicas": 2}});
    let new = json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "replicas": 2}});
    assert_eq!(
        (ruled("selector", &old, &own), ruled("selector", &json!({"spec": {"replicas": 2}}), &own)),
        (new.clone(), new)
    );
    let own = json!({"apiVersion": "rbac.authorization.k8s.io/v1"});
    assert_eq!(ruled("current-api", &json!({"apiVersion": "rbac.authorization.k8s.io/v1beta1"}), &own), own);
    let own = pod(&json!({}), json!({"serviceAccountName": "x-sa"}));
    assert_eq!(ruled("service-account-name", &pod(&json!({}), json!({"serviceAccount": "x-sa"})), &own), own);
    let own = json!({"rules": [{"verbs": ["get", "patch"]}]});
    let role = json!({"metadata": {"name": "x"}, "rules": [{"verbs": ["*"]}]});
    assert_eq!(ruled("rbac", &role, &own), json!({"metadata": {"name": "x"}, "rules": [{"verbs": ["get", "patch"]}]}));
    let own = json!({"roleRef": {"name": "x"}, "subjects": [{"name": "x-sa"}]});
    assert_eq!(ruled("rbac", &json!({"roleRef": {"name": "cluster-admin"}, "subjects": []}), &own), own);
}

#[test]
fn rules_about_storage() {
    let own = json!({"spec": {"storageClassName": "", "claimRef": {"name": "x-pvc"}, "mountOptions": ["hard"]}});
    assert_eq!(ruled("storage-class", &json!({"spec": {}}), &own), json!({"spec": {"storageClassName": ""}}));
    assert_eq!(
        ruled("storage-class", &json!({"spec": {"storageClassName": "x"}}), &json!({"spec": {}})),
        json!({"spec": {}})
    );
    let template = |spec: Value, annotations: Value| json!({"spec": {"volumeClaimTemplates": [{"metadata": {"annotations": annotations}, "spec": spec}]}});
    let old = template(json!({}), json!({"volume.alpha.kubernetes.io/storage-class": "default", "mine": "a"}));
    let own_template = template(json!({"storageClassName": "fast"}), json!({}));
    assert_eq!(
        ruled("storage-class", &old, &own_template),
        template(json!({"storageClassName": "fast"}), json!({"mine": "a"}))
    );
    let modes = |modes: &[&str]| json!({"spec": {"accessModes": modes, "volumeClaimTemplates": [{"spec": {"accessModes": modes}}]}});
    let (many, once) = (modes(&["ReadWriteMany"]), modes(&["ReadWriteOnce"]));
    assert_eq!(ruled("access-modes", &many, &once), once);
    let both = modes(&["ReadWriteMany", "ReadWriteOnce"]);
    assert_eq!((ruled("access-modes", &both, &once), ruled("access-modes", &many, &many)), (both, many));
    let claim = json!({"spec": {"selector": {"matchLabels": {"name": "x"}}}});
    assert_eq!(ruled("claim-ref", &claim, &json!({"spec": {}})), json!({"spec": {}}));
    assert_eq!(ruled("claim-ref", &json!({"spec": {}}), &own), json!({"spec": {"claimRef": {"name": "x-pvc"}}}));
    assert_eq!(ruled("mount-options", &json!({"spec": {}}), &own), json!({"spec": {"mountOptions": ["hard"]}}));
    let mine = json!({"spec": {"mountOptions": ["hard", "nfsvers=3"]}});
    assert_eq!(ruled("mount-options", &mine, &own), mine);
    let own = json!({"spec": {"hostPath": {"path": "/a", "type": "Directory"}}});
    assert_eq!(ruled("host-path-type", &json!({"spec": {"hostPath": {"path": "/a"}}}), &own), own);
    assert_eq!(ruled("host-path-type", &json!({"spec": {"nfs": {}}}), &own), json!({"spec": {"nfs": {}}}));
}

#[test]
fn rules_about_services() {
    let ports = json!({"spec": {"ports": [{"port": 1, "nodePort": 0}, {"port": 2, "nodePort": 30001}]}});
    let expected = json!({"spec": {"ports": [{"port": 1}, {"port": 2, "nodePort": 30001}]}});
    assert_eq!(ruled("node-port", &ports, &json!({})), expected);
    let own = json!({"spec": {"ports": [{"name": "postgres", "port": 5432}]}});
    let both = json!({"spec": {"ports": [{"name": "port-6543", "port": 6543}, {"name": "postgres", "port": 5432}]}});
    assert_eq!(ruled("port-5432", &json!({"spec": {"ports": [{"port": 6543}]}}), &own), both);
    let same = json!({"spec": {"ports": [{"port": 5432}]}});
    assert_eq!(ruled("port-5432", &same, &own), same);
    let own = json!({"spec": {"selector": {"statefulset.kubernetes.io/pod-name": "x-0"}, "publishNotReadyAddresses": true,
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}});
    let old = json!({"spec": {"selector": {"name": "x-master"}}});
    assert_eq!(ruled("primary-by-pod", &old, &own), json!({"spec": {"selector": own["spec"]["selector"]}}));
    assert_eq!(
        ruled("members-before-ready", &json!({"spec": {}}), &own),
        json!({"spec": {"publishNotReadyAddresses": true}})
    );
    let families = json!({"spec": {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}});
    assert_eq!(ruled("ip-families", &json!({"spec": {}}), &own), families);
}

#[test]
fn rules_about_the_containers_environment() {
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let env = |list: &[Value]| pod(&json!({"env": list}), json!({}));
    let old = env(&[
        variable("PG_MODE", "primary"),
        variable("PG_PRIMARY_HOST", "x-primary"),
        variable("MINE", "1"),
        variable("PGHOST", "/run"),
    ]);
    let own_env = [
        variable("PG_MODE", "set"),
        variable("PG_MASTER_HOST", "x-master"),
        variable("PGHOST", "/tmp"),
        variable("PG_PASSWORD", "no"),
    ];
    let mut own = env(&own_env);
    own["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh"]);
    let mut expected = env(&[
        variable("PG_MODE", "set"),
        variable("MINE", "1"),
        variable("PGHOST", "/run"),
        variable("PG_MASTER_HOST", "x-master"),
    ]);
    expected["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh"]);
    assert_eq!(ruled("mode", &old, &own), expected);

    let passwords = ["PG_PASSWORD", "PG_ROOT_PASSWORD", "PG_MASTER_PASSWORD", "PG_PRIMARY_PASSWORD"]
        .map(|name| variable(name, "x"));
    let old = env(&[&passwords[..], &[variable("PG_USER", "u")]].concat());
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let secret = json!({"name": "passwords", "projected": {"sources": []}});
    let tmp = json!({"name": "tmp", "emptyDir": {}});
    let claim = json!({"name": "pgdata", "persistentVolumeClaim": {"claimName": "c"}});
    let own = pod(
        &json!({"volumeMounts": [mount("pgdata", "/pgdata"), mount("passwords", "/pguser"), mount("passwords", "/pgroot"), mount("tmp", "/tmp")]}),
        json!({"volumes": [claim, secret, tmp]}),
    );
    let expected = pod(
        &json!({"env": [variable("PG_USER", "u")], "volumeMounts": [mount("passwords", "/pguser"), mount("passwords", "/pgroot")]}),
        json!({"volumes": [secret]}),
    );
    assert_eq!(ruled("secrets", &old, &own), expected);
    let mine =
        pod(&json!({"volumeMounts": [mount("mine", "/tmp")]}), json!({"volumes": [{"name": "mine", "emptyDir": {}}]}));
    let both = ruled("mounts", &mine, &own);
    let mounts = &both["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(*mounts, json!([mount("mine", "/tmp"), mount("passwords", "/pguser"), mount("passwords", "/pgroot")]));
    assert_eq!(both["spec"]["template"]["spec"]["volumes"], json!([{"name": "mine", "emptyDir": {}}, secret, tmp]));
}

#[test]
fn rules_about_the_pod() {
    let own_container = json!({"startupProbe": {"a": 1}, "readinessProbe": {"a": 2}, "livenessProbe": {"a": 3},
        "lifecycle": {"preStop": {"a": 4}}, "securityContext": {"privileged": false}, "resources": {"limits": {"memory": "1Gi"}}});
    let mut own = pod(
        &own_container,
        json!({"terminationGracePeriodSeconds": 180, "automountServiceAccountToken": false,
        "securityContext": {"runAsUser": 26, "fsGroup": 26}, "affinity": {"a": 5}, "enableServiceLinks": false}),
    );
    own["spec"]["podManagementPolicy"] = "OrderedReady".into();
    own["spec"]["template"]["metadata"] = json!({"annotations": {"a/b": "1"}});
    let bare = pod(&json!({}), json!({}));
    let one = |rule: &str, container: Value, spec: Value| {
        assert_eq!(ruled(rule, &bare, &own), pod(&container, spec), "{rule}");
    };
    one("probes", json!({"startupProbe": {"a": 1}, "readinessProbe": {"a": 2}, "livenessProbe": {"a": 3}}), json!({}));
    one("pre-stop", json!({"lifecycle": {"preStop": {"a": 4}}}), json!({"terminationGracePeriodSeconds": 180}));
    one(
        "security-context",
        json!({"securityContext": {"privileged": false}}),
        json!({"securityContext": {"runAsUser": 26, "fsGroup": 26}}),
    );
    one("resources", json!({"resources": {"limits": {"memory": "1Gi"}}}), json!({}));
    one("token", json!({}), json!({"automountServiceAccountToken": false}));
    let mut placed = pod(&json!({}), json!({"affinity": {"a": 5}, "enableServiceLinks": false}));
    placed["spec"]["podManagementPolicy"] = "OrderedReady".into();
    placed["spec"]["template"]["metadata"] = json!({"annotations": {"a/b": "1"}});
    assert_eq!(ruled("placement", &bare, &own), placed);
    let mine = pod(
        &json!({"readinessProbe": {"mine": 1}, "lifecycle": {"postStart": {"mine": 2}}, "resources": {}}),
        json!({"securityContext": {"fsGroup": 7}, "terminationGracePeriodSeconds": 9}),
    );
    let main = |rule: &str| ruled(rule, &mine, &own)["spec"]["template"]["spec"].clone();
    assert_eq!(main("probes")["containers"][0]["readinessProbe"], json!({"mine": 1}));
    assert_eq!(main("pre-stop")["containers"][0]["lifecycle"], json!({"postStart": {"mine": 2}, "preStop": {"a": 4}}));
    assert_eq!(main("pre-stop")["terminationGracePeriodSeconds"], 9);
    assert_eq!(main("security-context")["securityContext"], json!({"fsGroup": 7, "runAsUser": 26}));
    assert_eq!(main("resources")["containers"][0]["resources"], json!({}));
}

// ---- hostile --------------------------------------------------------------------------------------------------------

/// Every place of a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(entries) => {
            for (key, item) in entries {
                places(item, &format!("{at}/{}", key.replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn junk() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        "[ -~]{0,12}",
        Just("$NFS_PATH".to_owned()),
        Just("${CCP_STORAGE_MODE}x".to_owned()),
        Just("../..".to_owned()),
        Just("a\nb: c".to_owned())
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        texts.prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[1], "a", {"name": 5}])),
        Just(json!({"name": ["x"], "value": {"a": null}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_file_makes_a_panic_or_an_object_of_another_shape(file in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), value in junk()) {
        let mut texts = texts("checkout-1.2.8");
        let chosen = file.index(texts.manifests.len());
        let mut body: Value = serde_json::from_str(&texts.manifests[chosen].1).expect("JSON");
        let mut all = Vec::new();
        places(&body, "", &mut all);
        if let Some(at) = body.pointer_mut(&all[place.index(all.len())]) {
            *at = value;
        }
        texts.manifests[chosen].1 = body.to_string();
        let Ok(checkout) = Checkout::new(&texts, &env(&[TAG])) else { return Ok(()) };
        let Ok(below) = checkout.settings(None, false) else { return Ok(()) };
        let file = SettingsFile::default().over(below);
        let cli = Cli::parse_from(["pgset", "up"]);
        let Command::Up(up) = &cli.command else { panic!("another command") };
        let context = crate::settings::Context { namespace: None, machine: &Here };
        let Ok(resolved) = resolve(&Inputs { common: &cli.common, flags: &up.settings, env: &env(&[TAG]), file: &file, context }) else { return Ok(()) };
        let base = Base { checkout, sources: resolved.sources.settings.clone(), as_is: false };
        let settings = &resolved.settings;
        let Ok(own) = render(settings, &Context::new(settings), &Templates::builtin()) else { return Ok(()) };
        if let Ok(built) = base.build(own, settings) {
            for object in &built.objects {
                prop_assert_eq!(&object.body["metadata"]["name"], object.name.as_str());
                prop_assert_eq!(object.body["metadata"]["namespace"].as_str(), object.namespace.as_deref());
                prop_assert_eq!(&object.body["metadata"]["labels"]["app.kubernetes.io/managed-by"], "pgset");
            }
        }
    }
}
