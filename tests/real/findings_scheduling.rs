//! Scheduling: why no node takes a member, and nodes that are not well.

use crate::findings::{POD, PaperNode, templates, waits};
use crate::harness::{ClusterObject, HostDirectory, Namespace, wait_for};

#[test]
fn reasons_of_the_scheduler() {
    let space = Namespace::new("scheduler");
    let one = ["up", "--replicas", "1"];
    waits(&space, &[&one[..], &["--cpu", "900"]].concat(), "3s", "PGS-NO-ROOM", &["enough cpu", "--cpu"]);
    // Long before the time is over: the line begins with how many seconds it took.
    let told = space.pgset(&["wait", "--timeout", "8s"]).expect(4).stderr;
    let line = told.lines().find(|line| line.contains("PGS-NO-ROOM")).unwrap();
    let seconds: f32 = line.split_whitespace().next().unwrap().parse().unwrap();
    assert!(seconds < 5.0, "{told}");
    let memory = Namespace::beside(&space, "memory");
    waits(&memory, &[&one[..], &["--memory", "9Ti"]].concat(), "3s", "PGS-NO-ROOM", &["enough memory", "--memory"]);

    let selector = Namespace::beside(&space, "selector");
    let nowhere = format!("{POD}      nodeSelector: {{disk: none-has-it}}\n");
    let folder = templates(&selector, "selector", "statefulset.yaml", &[(POD, &nowhere)]);
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    waits(&selector, &up, "3s", "PGS-NODE-SELECTOR", &["node selector", "kubectl label node"]);

    // Two members, one node, and they may not share it.
    let apart = Namespace::beside(&space, "apart");
    let required = "requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels:
                  app: {{ set }}
          preferredDuringSchedulingIgnoredDuringExecution:";
    let folder = templates(
        &apart,
        "apart",
        "statefulset.yaml",
        &[("preferredDuringSchedulingIgnoredDuringExecution:", required)],
    );
    let cause =
        waits(&apart, &["up", "--templates", folder.as_str()], "40s", "PGS-ANTI-AFFINITY", &["2 members need 2 nodes"]);
    assert_eq!(cause["object"]["kind"], "Pod");
}

#[test]
fn a_volume_that_is_tied_to_a_node_that_is_not_there() {
    let space = Namespace::new("tied");
    let volume = format!("{}-tied", space.name);
    let directory = HostDirectory::new("tied");
    let manifest = format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {volume}}}, spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce],
        storageClassName: '', local: {{path: {}}}, claimRef: {{namespace: {}, name: pgdata-pgset-0}},
        nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [gone]}}]}}]}}}}}}}}",
        directory.as_str(),
        space.name
    );
    let _volume = ClusterObject::new("persistentvolume", &volume, &manifest);
    let folder = templates(
        &space,
        "tied-templates",
        "statefulset.yaml",
        &[(
            "        {% if storage.kind != \"class\" %}\n",
            "        storageClassName: \"\"\n        {% if storage.kind == \"never\" %}\n",
        )],
    );
    let up = ["up", "--replicas", "1", "--templates", folder.as_str()];
    waits(&space, &up, "10s", "PGS-VOLUME-NODE", &["tied to a node", "nodeAffinity"]);
}

#[test]
fn nodes_that_are_tainted_cordoned_short_of_disk_or_gone() {
    // What the scheduler says in other tests would count the second node as well.
    let space = Namespace::alone("nodes");
    let node = PaperNode::new(&space);
    let directory = HostDirectory::new("nodes");
    let storage = ["--replicas", "1", "--storage", "hostpath", "--host-path", directory.as_str()];

    let selected = format!("{POD}      nodeSelector: {{kubernetes.io/hostname: {}}}\n", node.name);
    let folder = templates(&space, "tainted", "statefulset.yaml", &[(POD, &selected)]);
    let up = |folder: &HostDirectory| {
        [&["up", "--templates", folder.as_str()], &storage[..]]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    // The volume controller binds at once or only when it looks again, 15 s later: until then the scheduler says nothing of
    // nodes.
    let waits_with = |folder: &HostDirectory, code: &str, words: &[&str]| {
        let command = up(folder);
        let command: Vec<&str> = command.iter().map(String::as_str).chain(["--timeout", "1s"]).collect();
        space.pgset(&command).expect(4);
        wait_for("the claim to be bound", || {
            let phase = space.kubectl(&["get", "pvc", "pgset-pvc", "-o=jsonpath={.status.phase}"]);
            (phase == "Bound").then_some(())
        });
        waits(&space, &["wait"], "5s", code, words)
    };
    let taint = format!("kubectl taint nodes {} paper-", node.name);
    waits_with(&folder, "PGS-TAINTED", &[&format!("does not tolerate: paper on {}", node.name), &taint]);

    // From here on the pod tolerates the taint; the old one has no node and would stay (kubernetes#67250).
    let tolerant = templates(&space, "tolerant", "statefulset.yaml", &[(POD, &node.placement())]);
    crate::harness::kubectl(&["cordon", &node.name]);
    space.pgset(&["down", "--yes"]).expect(0);
    let uncordon = format!("kubectl uncordon {}", node.name);
    waits_with(&tolerant, "PGS-CORDONED", &[&format!("cordoned: {}", node.name), &uncordon]);
    // A pod that the node took would never end, since no kubelet runs it: so it goes before the node is open again.
    space.pgset(&["down", "--yes"]).expect(0);

    node.set("DiskPressure", "True");
    wait_for("the taint of the pressure", || {
        let taints = crate::harness::kubectl(&["get", "node", &node.name, "-o=jsonpath={.spec.taints[*].key}"]);
        taints.contains("disk-pressure").then_some(())
    });
    crate::harness::kubectl(&["uncordon", &node.name]);
    waits_with(&tolerant, "PGS-NODE-PRESSURE", &["disk space", "describe nodes"]);
    node.set("Ready", "True");

    // It takes the pod, and then nothing is heard of it any more.
    wait_for("the pod to be on the node", || {
        let on = space.kubectl(&["get", "pod", "pgset-0", "-o=jsonpath={.spec.nodeName}"]);
        (on == node.name).then_some(())
    });
    node.set("MemoryPressure", "True");
    let words = ["short of memory", "free memory on the node", "describe node"];
    let pressed = waits(&space, &["wait"], "12s", "PGS-NODE-PRESSURE", &words);
    assert_eq!(pressed["object"]["name"], node.name.as_str());
    node.set("Ready", "Unknown");
    let words = ["stopped reporting", "describe node"];
    let lost = waits(&space, &["wait"], "12s", "PGS-NODE-NOT-READY", &words);
    assert_eq!(lost["object"]["name"], node.name.as_str());

    // A pod there that is deleted never ends by itself, and is never ended by force.
    space.kubectl(&["delete", "pod", "pgset-0", "--wait=false"]);
    node.set("Ready", "Unknown");
    let status = space.pgset(&["status", "-o", "json"]).expect(3).json();
    let text = status["findings"].to_string();
    assert!(text.contains("PGS-POD-ON-LOST-NODE") && text.contains("out-of-service"), "{text}");
    assert!(!text.contains("--force") && !text.contains("delete pod"), "{text}");
    assert!(space.get("pod", "pgset-0").is_some());
    // Only the test may: no kubelet has ever run it.
    space.kubectl(&["delete", "pod", "pgset-0", "--force", "--grace-period=0", "--ignore-not-found"]);
}
