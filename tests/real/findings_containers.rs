//! Containers: killed, stuck, misconfigured, not ready, pinned, held.

use std::os::unix::fs::{MetadataExt, chown};

use crate::findings::{POD, fails, objects, templates, waits};
use crate::harness::{HostDirectory, Namespace, Run, wait_for};

#[test]
fn killed_for_memory_by_the_liveness_probe_or_never_ready() {
    let space = Namespace::new("killed");
    let hog = templates(
        &space,
        "hog",
        "statefulset.yaml",
        &[("command: [/bin/sh, /pgset/config/start.sh]", "command: [/bin/sh, -c, 'head -c 900m /dev/zero | tail']")],
    );
    let up = ["up", "--replicas", "1", "--memory", "128Mi", "--templates", hog.as_str()];
    fails(&space, &up, "PGS-OOM-KILLED", &["memory", "--memory"]);

    let unlucky = Namespace::beside(&space, "liveness");
    let probe = "livenessProbe:
            exec:
              command: [/bin/sh, -c, echo PostgreSQL does not answer on port 5432; exit 1]
            periodSeconds: 1
            timeoutSeconds: 10
            failureThreshold: 1";
    let text = "livenessProbe:
            exec:
              command: [/bin/sh, /pgset/config/live.sh]
            periodSeconds: 10
            timeoutSeconds: 10
            failureThreshold: 9";
    let folder = templates(&unlucky, "liveness", "statefulset.yaml", &[(text, probe)]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    // The set is healthy for an instant between two kills, so it is broken first and waited for afterwards.
    let _ = unlucky.pgset(&[&up[..], &["--timeout", "2s"]].concat());
    wait_for("two kills", || {
        let restarts =
            unlucky.kubectl(&["get", "pod", "pgset-0", "-o=jsonpath={.status.containerStatuses[0].restartCount}"]);
        (restarts.parse::<u32>().unwrap_or(0) >= 2).then_some(())
    });
    wait_for("the finding", || {
        let status = unlucky.pgset(&["status", "-o", "json"]);
        let found = status.json()["findings"][0].clone();
        (status.code == 3 && found["code"] == "PGS-LIVENESS-KILLED").then(|| {
            assert!(found["evidence"].to_string().contains("does not answer on port 5432"), "{found}");
        })
    });

    let unready = Namespace::beside(&space, "unready");
    let text = "readinessProbe:
            exec:
              command: [/bin/sh, /pgset/config/ready.sh]";
    let probe = "readinessProbe:
            exec:
              command: [/bin/sh, -c, echo the moon is in the wrong house; exit 1]";
    let folder = templates(&unready, "unready", "statefulset.yaml", &[(text, probe)]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    waits(&unready, &up, "25s", "PGS-NOT-READY", &["the moon is in the wrong house", "logs pgset-0"]);
}

#[test]
fn an_init_container_that_fails_and_a_configuration_that_cannot_be() {
    let space = Namespace::new("init");
    let init = format!(
        "{POD}      initContainers: [{{name: prepare, image: {{{{ image }}}}, command: [/bin/sh, -c, exit 3], securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}}}]\n"
    );
    let folder = templates(&space, "init", "statefulset.yaml", &[(POD, &init)]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    fails(
        &space,
        &up,
        "PGS-INIT-CONTAINER",
        &["init container prepare ends with exit code 3", "logs pgset-0 -c prepare"],
    );

    let hanging = Namespace::beside(&space, "init-hangs");
    let folder =
        templates(&hanging, "init-hangs", "statefulset.yaml", &[(POD, &init.replace("exit 3", "exec sleep 3600"))]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    let words = ["init container prepare has not ended yet", "logs pgset-0 -c prepare"];
    waits(&hanging, &up, "20s", "PGS-INIT-CONTAINER", &words);
    hanging.pgset(&["status"]).expect(3);

    let config = Namespace::beside(&space, "config");
    let folder = templates(&config, "config", "statefulset.yaml", &[("runAsUser: {{ uid }}", "runAsUser: 0")]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    fails(&config, &up, "PGS-CONTAINER-CONFIG", &["configuration is not valid", "non-root"]);
}

#[test]
fn a_pod_pinned_to_a_bad_revision_is_unstuck() {
    let space = Namespace::new("unstick");
    space.pgset(&["up", "--image", "docker.io/library/postgres:none"]).expect(3);
    // Kubernetes replaces one of the two by itself when it has not been tried yet; which one it leaves, it chooses.
    let pinned = fails(&space, &["up"], "PGS-POD-PINNED", &["--unstick", "delete pod pgset-"]);
    assert!(objects(&pinned).iter().all(|pod| pod.starts_with("pgset-")), "{pinned}");
    space
        .pgset(&["wait", "--unstick"])
        .expect(0)
        .says(&["deleted Pod pgset-", "which was pinned to an older revision"]);

    // The primary's pod is not deleted unless somebody agrees, and nobody can answer here.
    space.psql("pgset-0", "create table kept as select 1 as row");
    let bad = templates(
        &space,
        "unstick",
        "statefulset.yaml",
        &[("image: {{ image }}", "image: docker.io/library/postgres:none")],
    );
    space.pgset(&["up", "--templates", bad.as_str()]).expect(3);
    space.kubectl(&["delete", "pod", "pgset-0"]);
    wait_for("the new pod of the bad revision", || {
        let image = space.kubectl(&[
            "get",
            "pod",
            "pgset-0",
            "--ignore-not-found",
            "-o=jsonpath={.status.containerStatuses[0].state.waiting.reason}",
        ]);
        image.contains("Image").then_some(())
    });
    space.kubectl(&["label", "pod", "pgset-0", "name=pgset-master", "--overwrite"]);
    space.pgset(&["up", "--unstick"]).expect(6).says(&["nobody can answer", "--unstick --yes"]);
    assert!(space.get("pod", "pgset-0").is_some());
    space.pgset(&["up", "--unstick", "--yes"]).expect(0);
    assert_eq!(space.psql("pgset-0", "select row from kept"), "1");
}

#[test]
fn a_finalizer_holds_a_pod_and_a_crash_has_its_last_words() {
    let space = Namespace::new("finalizer");
    space.pgset(&["up"]).expect(0);
    space.kubectl(&[
        "patch",
        "pod",
        "pgset-1",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
    ]);
    space.kubectl(&["delete", "pod", "pgset-1", "--wait=false"]);
    let held = fails(&space, &["wait"], "PGS-FINALIZER", &["example.com/hold", "patch pod pgset-1"]);
    assert_eq!(objects(&held), ["pgset-1"]);
    space.kubectl(&["patch", "pod", "pgset-1", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    space.pgset(&["wait"]).expect(0);
    let doctor = Run::of(space.command(&["doctor"]).output().unwrap()).expect(0);
    assert!(doctor.stdout.contains("checked pgset-1 reaches pgset-master"), "{}", doctor.stdout);
}

#[test]
fn what_follows_from_a_cause_is_told_below_it_and_two_causes_are_both_told() {
    let space = Namespace::new("folded");
    let directory = HostDirectory::new("folded");
    let up = ["up", "--storage", "hostpath", "--host-path", directory.as_str()];
    space.pgset(&up).expect(0);
    space.pgset(&["down", "--yes"]).expect(0);
    let folder = directory.path.join("pgset-0");
    let owner = std::fs::metadata(&folder).unwrap().uid();
    chown(&folder, Some(0), Some(0)).unwrap();
    space.pgset(&up).expect(3);
    // The replica starts, and waits for a primary that cannot: one finding, and the replica below it.
    wait_for("one finding", || {
        let status = space.pgset(&["status", "-o", "json"]).json();
        let findings = status["findings"].as_array().unwrap();
        let so = findings.first().map(|first| first["consequences"][0]["object"]["name"].clone());
        (findings.len() == 1 && findings[0]["code"] == "PGS-DATA-NOT-WRITABLE" && so == Some("pgset-1".into()))
            .then_some(())
    });
    let text = space.pgset(&["status"]).expect(3).stdout;
    assert!(text.contains("  so Pod pgset-1: ") && !text.contains("PGS-NOT-READY"), "{text}");
    chown(&folder, Some(owner), Some(owner)).unwrap();
    space.kubectl(&["delete", "pod", "pgset-0"]);
    space.pgset(&["wait"]).expect(0);

    // No room for one member, no image for the other: neither explains the other.
    let both = Namespace::beside(&space, "two-causes");
    both.kubectl(&["create", "quota", "one", "--hard=pods=1"]);
    both.pgset(&["up", "--image", "docker.io/library/postgres:none"]).expect(3);
    let (image, quota) = ("PGS-IMAGE-NOT-FOUND", "PGS-QUOTA");
    wait_for("both", || {
        let status = both.pgset(&["status", "-o", "json"]).expect(3).json();
        let findings = status["findings"].as_array().unwrap();
        let mut codes: Vec<&str> = findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        (codes == [image, quota]).then_some(())
    });
    let text = both.pgset(&["status"]).expect(3).stdout;
    assert!(text.contains("--image") && text.contains("edit resourcequota one"), "{text}");
}
