//! The calls to the API server, against a fake one: method, address and body of each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

mod client;
mod commands;
mod fake;
mod live;
mod silent;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use pgset::cluster::{Applier, ClassesOnce, Cluster, Deleter, Members, Need, grow_claim, preflight};
use pgset::manifests::{Names, Object, ObjectKind, State};
use pgset::set::rollout::Relabel;
use pgset::settings::{Settings, SettingsFile};
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

type Api = Handle<Request<Body>, Response<Body>>;

fn cluster() -> (Cluster, Api) {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    (Cluster { client, server: "https://fake/".to_owned(), context: "fake".to_owned() }, handle)
}

/// One expected request and its answer.
struct Exchange {
    method: &'static str,
    address: &'static str,
    code: u16,
    answer: Value,
}

fn exchange(method: &'static str, address: &'static str, code: u16, answer: Value) -> Exchange {
    Exchange { method, address, code, answer }
}

/// Answers these requests in this order and returns their bodies.
async fn serve(mut api: Api, exchanges: Vec<Exchange>) -> Vec<Value> {
    let mut bodies = Vec::new();
    for Exchange { method, address, code, answer } in exchanges {
        let (request, send) = api.next_request().await.unwrap();
        assert_eq!(format!("{} {}", request.method(), request.uri()), format!("{method} {address}"));
        let body = request.into_body().collect_bytes().await.unwrap();
        bodies.push(serde_json::from_slice(&body).unwrap_or(Value::Null));
        let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    bodies
}

fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn settings() -> Settings {
    use clap::Parser;
    let cli = pgset::cli::Cli::parse_from(["pgset", "up", "-n", "shop", "--storage-class", "fast"]);
    let pgset::cli::Command::Up(up) = cli.command else { unreachable!() };
    let inputs = pgset::settings::Inputs {
        common: &cli.common,
        flags: &up.settings,
        env: &std::iter::empty::<(String, String)>().collect(),
        file: &SettingsFile::default(),
        context: pgset::settings::Context { namespace: None, machine: &pgset::settings::ThisMachine },
    };
    pgset::settings::resolve(&inputs).unwrap().settings
}

fn notes() -> Object {
    let settings = settings();
    State::default().config_map(&Names::new(&settings.name, &settings.namespace))
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_an_apply_has_one_field_manager() {
    let (cluster, api) = cluster();
    let mut stored = notes().body;
    stored["metadata"]["resourceVersion"] = "7".into();
    let served = tokio::spawn(serve(
        api,
        vec![
            exchange(
                "PATCH",
                "/api/v1/namespaces/shop/configmaps/pgset-state?&dryRun=All&force=true&fieldManager=pgset",
                201,
                notes().body,
            ),
            exchange(
                "PATCH",
                "/api/v1/namespaces/shop/configmaps/pgset-state?&force=true&fieldManager=pgset",
                200,
                stored,
            ),
        ],
    ));
    let applier = Applier::new(&cluster);
    assert!(!applier.dry_run(&notes()).await.unwrap().exists);
    assert_eq!(applier.apply(&notes()).await.unwrap()["metadata"]["resourceVersion"], "7");
    let bodies = served.await.unwrap();
    assert_eq!(bodies[0], notes().body);
    assert_eq!(bodies[1], notes().body);
}

#[tokio::test]
async fn creating_what_exists_leaves_it_as_it_is() {
    let (cluster, api) = cluster();
    let exists = refusal(409, "AlreadyExists", "configmaps \"pgset-state\" already exists");
    let served = tokio::spawn(serve(
        api,
        vec![exchange("POST", "/api/v1/namespaces/shop/configmaps?&fieldManager=pgset", 409, exists)],
    ));
    assert!(!Applier::new(&cluster).create(&notes()).await.unwrap());
    served.await.unwrap();
}

#[tokio::test]
async fn a_refusal_names_the_object_and_the_api_servers_reason() {
    let (cluster, api) = cluster();
    let forbidden = refusal(403, "Forbidden", "configmaps is forbidden: User \"x\" cannot patch");
    let address = "/api/v1/namespaces/shop/configmaps/pgset-state?&force=true&fieldManager=pgset";
    tokio::spawn(serve(api, vec![exchange("PATCH", address, 403, forbidden)]));
    let failure = Applier::new(&cluster).apply(&notes()).await.unwrap_err();
    assert!(failure.is_forbidden());
    let words =
        "failed to apply ConfigMap pgset-state in namespace shop: configmaps is forbidden: User \"x\" cannot patch";
    assert_eq!(failure.to_string(), words);
}

#[tokio::test]
async fn deleting_what_is_gone_is_no_failure() {
    let (cluster, api) = cluster();
    let gone = refusal(404, "NotFound", "not found");
    let served = tokio::spawn(serve(
        api,
        vec![exchange("DELETE", "/api/v1/namespaces/shop/configmaps/pgset-state?", 404, gone)],
    ));
    assert!(!Deleter { cluster: &cluster }.delete(&notes()).await.unwrap());
    assert_eq!(served.await.unwrap()[0]["propagationPolicy"], "Background");
}

#[tokio::test]
async fn labels_and_scale_touch_nothing_else() {
    let (cluster, api) = cluster();
    let pod = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "pgset-0"}});
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "pgset"}, "spec": {"replicas": 3}});
    let served = tokio::spawn(serve(
        api,
        vec![
            exchange("PATCH", "/api/v1/namespaces/shop/pods/pgset-0?&fieldManager=pgset-live", 200, pod),
            exchange(
                "PATCH",
                "/apis/apps/v1/namespaces/shop/statefulsets/pgset/scale?&fieldManager=pgset-live",
                200,
                scale,
            ),
        ],
    ));
    let members = Members { cluster: &cluster, namespace: "shop" };
    members.relabel(&Relabel { pod: "pgset-0".to_owned(), name: "pgset-master".to_owned() }).await.unwrap();
    members.scale("pgset", 3).await.unwrap();
    let bodies = served.await.unwrap();
    assert_eq!(bodies[0], json!({"metadata": {"labels": {"name": "pgset-master"}}}));
    assert_eq!(bodies[1], json!({"spec": {"replicas": 3}}));
}

#[tokio::test]
async fn a_statefulset_is_tried_anew_under_a_name_of_the_servers_and_deleted_without_its_pods() {
    let (cluster, api) = cluster();
    let set = Object {
        kind: ObjectKind::StatefulSet,
        namespace: Some("shop".to_owned()),
        name: "pgset".to_owned(),
        body: json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "pgset", "labels": {"app": "pgset"}},
            "spec": {"serviceName": "pgset"}}),
    };
    let success = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let served = tokio::spawn(serve(
        api,
        vec![
            exchange(
                "POST",
                "/apis/apps/v1/namespaces/shop/statefulsets?&dryRun=All&fieldManager=pgset",
                201,
                set.body.clone(),
            ),
            exchange("DELETE", "/apis/apps/v1/namespaces/shop/statefulsets/pgset?", 200, success),
        ],
    ));
    Applier::new(&cluster).dry_run_anew(&set).await.unwrap();
    assert!(Deleter { cluster: &cluster }.delete_alone(&set).await.unwrap());
    let bodies = served.await.unwrap();
    assert_eq!(bodies[0]["metadata"], json!({"generateName": "pgset-", "labels": {"app": "pgset"}}));
    assert_eq!(bodies[0]["spec"], set.body["spec"]);
    assert_eq!(bodies[1]["propagationPolicy"], "Orphan");
}

#[tokio::test]
async fn a_restarted_member_is_that_very_pod_and_never_forced_and_a_claim_only_grows() {
    let (cluster, api) = cluster();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pgset-1"}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "pgdata-pgset-1"}});
    let doomed = serde_json::from_value(json!({"metadata": {"name": "pgset-1", "uid": "u-1"}})).unwrap();
    let served = tokio::spawn(serve(
        api,
        vec![
            exchange("DELETE", "/api/v1/namespaces/shop/pods/pgset-1?", 200, pod),
            exchange(
                "PATCH",
                "/api/v1/namespaces/shop/persistentvolumeclaims/pgdata-pgset-1?&fieldManager=pgset-live",
                200,
                claim,
            ),
        ],
    ));
    Members { cluster: &cluster, namespace: "shop" }.delete(&doomed).await.unwrap();
    grow_claim(&cluster, "shop", "pgdata-pgset-1", "2Gi").await.unwrap();
    let bodies = served.await.unwrap();
    assert_eq!(bodies[0]["preconditions"], json!({"uid": "u-1"}));
    assert!(bodies[0]["gracePeriodSeconds"].is_null(), "{}", bodies[0]);
    assert_eq!(bodies[1], json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}));
}

/// A fake API server that answers by address, for calls that go out at the same time.
async fn answer_preflight(mut api: Api, may: fn(&Value) -> bool, class: &str) -> usize {
    let mut reviews = 0;
    while let Some((request, send)) = api.next_request().await {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect_bytes().await.unwrap();
        let (code, answer) = match path.as_str() {
            "/version" => (
                200,
                json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "",
                "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
            ),
            "/api/v1/namespaces/shop" => (404, refusal(404, "NotFound", "namespaces \"shop\" not found")),
            "/apis/storage.k8s.io/v1/storageclasses" => (
                200,
                json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClassList", "metadata": {},
                    "items": [{"metadata": {"name": class}, "provisioner": "x"}]}),
            ),
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => {
                reviews += 1;
                let review: Value = serde_json::from_slice(&body).unwrap();
                let allowed = may(&review["spec"]["resourceAttributes"]);
                (
                    201,
                    json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                    "metadata": {}, "spec": {}, "status": {"allowed": allowed}}),
                )
            }
            other => panic!("unexpected {other}"),
        };
        let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    reviews
}

const NEEDS: [Need; 3] = [
    Need::new("create", "apps", "statefulsets"),
    Need::new("patch", "", "pods"),
    Need::new("get", "", "persistentvolumes").cluster_wide(),
];

#[tokio::test]
async fn whoever_may_do_everything_in_the_namespace_is_asked_once() {
    let (cluster, api) = cluster();
    let served = tokio::spawn(answer_preflight(api, |_| true, "fast"));
    let problems = preflight(&cluster, &ClassesOnce::new(&cluster), &settings(), &NEEDS).await.unwrap();
    drop(cluster);
    let problems: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(problems, ["namespace shop does not exist"]);
    // Once for everything in the namespace, once for what is cluster-wide.
    assert_eq!(served.await.unwrap(), 2);
}

#[tokio::test]
async fn everybody_else_gets_every_problem_in_one_list() {
    let (cluster, api) = cluster();
    let served = tokio::spawn(answer_preflight(api, |attributes| attributes["resource"] == "pods", "slow"));
    let problems = preflight(&cluster, &ClassesOnce::new(&cluster), &settings(), &NEEDS).await.unwrap();
    drop(cluster);
    let problems: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(
        problems,
        [
            "namespace shop does not exist",
            "StorageClass fast does not exist",
            "you may not create statefulsets.apps in namespace shop",
            "you may not get persistentvolumes cluster-wide",
        ]
    );
    assert_eq!(served.await.unwrap(), 4);
}

/// Answers whatever comes, by address, and returns the addresses.
async fn answer_by_address(mut api: Api, answer: fn(&str) -> (u16, Vec<u8>)) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some((request, send)) = api.next_request().await {
        asked.push(format!("{} {}", request.method(), request.uri()));
        let (code, body) = answer(request.uri().path());
        send.send_response(Response::builder().status(code).body(Body::from(body)).unwrap());
    }
    asked.sort();
    asked
}

#[tokio::test]
async fn listing_sets_is_one_request_a_kind_however_many_there_are() {
    fn answer(path: &str) -> (u16, Vec<u8>) {
        let object = |namespace: &str, name: &str, app: &str| {
            json!({"metadata": {"namespace": namespace, "name": name, "labels": {"app": app}},
                "spec": {"replicas": 1, "selector": {}, "serviceName": app, "template": {}}})
        };
        let pod =
            |namespace: &str, app: &str| json!({"metadata": object(namespace, &format!("{app}-0"), app)["metadata"]});
        let (kind, items) = match path.rsplit('/').next().unwrap() {
            "statefulsets" => ("StatefulSetList", vec![object("a", "pgset", "pgset"), object("b", "orders", "orders")]),
            "pods" => ("PodList", vec![pod("b", "orders"), pod("a", "pgset"), pod("c", "gone")]),
            "persistentvolumeclaims" => ("PersistentVolumeClaimList", vec![]),
            "endpointslices" => ("EndpointSliceList", vec![]),
            other => panic!("unexpected {other}"),
        };
        let group = path.split('/').nth(2).unwrap();
        let version = if path.starts_with("/apis") { format!("{group}/v1") } else { "v1".to_owned() };
        let list = json!({"apiVersion": version, "kind": kind, "metadata": {}, "items": items});
        (200, serde_json::to_vec(&list).unwrap())
    }
    let (cluster, api) = cluster();
    let served = tokio::spawn(answer_by_address(api, answer));
    let sets = pgset::set::listing::observations(pgset::cluster::list(&cluster, None).await.unwrap());
    drop(cluster);
    let seen: Vec<(&str, &str, usize)> =
        sets.iter().map(|set| (set.namespace.as_str(), set.name.as_str(), set.pods.len())).collect();
    assert_eq!(seen, [("a", "pgset", 1), ("b", "orders", 1)]);
    let ours = "?&labelSelector=app.kubernetes.io%2Fmanaged-by%3Dpgset";
    let kinds = [
        "/api/v1/persistentvolumeclaims",
        "/api/v1/pods",
        "/apis/apps/v1/statefulsets",
        "/apis/discovery.k8s.io/v1/endpointslices",
    ];
    assert_eq!(served.await.unwrap(), kinds.map(|kind| format!("GET {kind}{ours}")));
}

#[tokio::test]
async fn without_the_right_to_list_everywhere_the_kind_and_the_place_are_named() {
    let (cluster, api) = cluster();
    tokio::spawn(answer_by_address(api, |_| {
        (403, serde_json::to_vec(&refusal(403, "Forbidden", "x is forbidden")).unwrap())
    }));
    let failure = pgset::cluster::list(&cluster, None).await.unwrap_err();
    assert!(failure.is_forbidden());
    assert!(failure.to_string().starts_with("failed to list ") && failure.to_string().contains(" of all namespaces: "));
}

#[tokio::test]
async fn a_log_is_read_by_lines_whatever_their_bytes() {
    use pgset::cluster::{Log, Part};
    let (cluster, api) = cluster();
    let served = tokio::spawn(answer_by_address(api, |_| {
        (200, b"2026-01-01T00:00:00Z one\n2026-01-01T00:00:01Z \xff two\n2026-01-01T00:00:02Z no end".to_vec())
    }));
    let since = Some("2026-01-01T00:00:00.9Z".parse().unwrap());
    let part = Part { follow: true, previous: false, since, tail: Some(5) };
    let mut log = Log::open(&cluster, "shop", "pgset-0", &part).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = log.line().await {
        lines.push(line);
    }
    drop((log, cluster));
    let expected = ["2026-01-01T00:00:00Z one\n", "2026-01-01T00:00:01Z \u{fffd} two\n", "2026-01-01T00:00:02Z no end"];
    assert_eq!(lines, expected);
    let address = "/api/v1/namespaces/shop/pods/pgset-0/log?&container=pgset&follow=true\
        &sinceTime=2026-01-01T00%3A00%3A00Z&tailLines=5&timestamps=true";
    assert_eq!(served.await.unwrap(), [format!("GET {address}")]);
}

#[tokio::test]
async fn a_log_that_is_not_there_is_said_so_with_the_kubelets_words() {
    use pgset::cluster::{Log, Part};
    let (cluster, api) = cluster();
    let words = "previous terminated container \"pgset\" in pod \"pgset-0\" not found";
    let served = tokio::spawn(serve(
        api,
        vec![exchange(
            "GET",
            "/api/v1/namespaces/shop/pods/pgset-0/log?&container=pgset&previous=true&timestamps=true",
            400,
            refusal(400, "BadRequest", words),
        )],
    ));
    let part = Part { previous: true, ..Part::default() };
    let failure = Log::open(&cluster, "shop", "pgset-0", &part).await.err().unwrap();
    served.await.unwrap();
    assert_eq!(failure.to_string(), format!("failed to read the log of Pod pgset-0 in namespace shop: {words}"));
}
