//! Recorded and hostile reports, events and pods, and what the trial makes of them.

use serde_json::{Value, json};

use super::*;

const NOON: &str = "2026-11-24T12:00:00Z";

fn trial() -> Trial {
    let volume = json!({"spec": {"nfs": {"server": "10.0.0.5", "path": "/pg"}, "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"], "mountOptions": ["hard", "nfsvers=4.1"]}});
    Trial::of(&Names::new(&"orders".parse().unwrap(), &"shop".parse().unwrap()), &volume).unwrap()
}

fn pod(name: &str, state: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": "node1", "containers": [{"name": "pgset", "image": "i"}]},
        "status": {"containerStatuses": [{"name": "pgset", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": state}]}})
}

fn creating() -> Value {
    json!({"waiting": {"reason": "ContainerCreating"}})
}

fn ended(message: &str) -> Value {
    json!({"terminated": {"exitCode": 0, "message": message}})
}

fn seen(mount: &Value, port: &Value, events: &[(&str, &str)]) -> Observation {
    let event = |(reason, message): &(&str, &str)| {
        json!({"metadata": {}, "involvedObject": {"kind": "Pod", "name": "orders-trial"}, "reason": reason,
            "message": message, "firstTimestamp": NOON, "lastTimestamp": NOON})
    };
    let node = json!({"metadata": {"name": "node1"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.11"}]}});
    let events: Vec<Value> = events.iter().map(event).collect();
    serde_json::from_value(json!({"name": "orders", "namespace": "shop", "events": events, "nodes": [node],
        "pods": [pod("orders-trial", mount), pod("orders-trial-port", port)]}))
    .unwrap()
}

fn judged(seen: &Observation, seconds: i64) -> Next {
    let waited = SignedDuration::from_secs(seconds);
    trial().judge(seen, NOON.parse::<Timestamp>().unwrap() + waited, waited)
}

fn failed(next: Next) -> Finding {
    match next {
        Next::Failed(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

const FINE: &str = "uid=999\nmode=drwx------\nowner=999:999\nmount=nfs4 rw,relatime,hard,vers=4.1\nfree=9000000\n\
                    began=100.00\nended=100.20\ndone=yes\n";

#[test]
fn an_export_that_a_member_can_work_on_passes() {
    let next = judged(&seen(&ended(FINE), &ended("port=open"), &[]), 2);
    assert_eq!(next, Next::Passed(Vec::new()));
    // A pod may not reach what its node does: the mount's word counts.
    assert_eq!(judged(&seen(&ended(FINE), &ended("port=timed-out"), &[]), 20), Next::Passed(Vec::new()));
    let slow = FINE.replace("ended=100.20", "ended=105.20").replace("free=9000000", "free=500000");
    let Next::Passed(warnings) = judged(&seen(&ended(&slow.replace("hard", "soft")), &creating(), &[]), 2) else {
        panic!()
    };
    for words in ["10.0.0.5:/pg has 488", "takes 520 ms", "mounted soft"] {
        assert!(warnings.iter().any(|line| line.contains(words)), "{words}: {warnings:?}");
    }
}

#[test]
fn what_a_member_could_not_do_there_has_its_code_and_the_servers_own_fix() {
    let start = "uid=999\nmode=drwxr-xr-x\nowner=0:0\nmount=nfs4 rw,hard\nfree=9000000\n";
    for (report, code, words) in [
        (
            format!("{start}make=mkdir: cannot create directory '/volumes/0/.orders-trial': Permission denied\n"),
            "PGS-DATA-NOT-WRITABLE",
            vec![
                "uid 999 cannot make a folder in /pg",
                "belongs to 0:0 and has mode drwxr-xr-x",
                "chown 999 /pg",
                "10.0.0.11(rw",
            ],
        ),
        (
            format!("{start}make=mkdir: can't create directory: Read-only file system\n"),
            "PGS-VOLUME-READ-ONLY",
            vec!["can only be read", "/pg 10.0.0.11(rw,sync,no_subtree_check)", "exportfs -ra"],
        ),
        (format!("{start}make=mkdir: No space left on device\n"), "PGS-VOLUME-FULL", vec!["df -h /pg"]),
        (format!("{start}write=dd: Disk quota exceeded\n"), "PGS-VOLUME-FULL", vec!["nothing is free"]),
        (
            format!("{start}write=dd: fsync failed: Input/output error\n"),
            "PGS-DATA-NOT-WRITABLE",
            vec!["fsync", "dmesg"],
        ),
        (format!("{start}remove=rm: Operation not permitted\n"), "PGS-DATA-NOT-WRITABLE", vec!["remove a folder"]),
        (
            format!("{start}make=mkdir: Stale file handle\n"),
            "PGS-NFS-STALE",
            vec!["is the file system behind /pg mounted"],
        ),
        (FINE.replace("free=9000000", "free=100"), "PGS-VOLUME-FULL", vec!["are free"]),
        (FINE.replace("rw,relatime", "ro,relatime"), "PGS-VOLUME-READ-ONLY", vec!["mountOptions"]),
    ] {
        let finding = failed(judged(&seen(&ended(&report), &ended("port=open"), &[]), 2));
        assert_eq!(finding.code, code, "{report}");
        assert_eq!(finding.object.to_string(), "NFS export 10.0.0.5:/pg");
        let all = format!("{} {:?} {:?}", finding.summary, finding.evidence, finding.fix);
        for word in words {
            assert!(all.contains(word), "{word}: {all}");
        }
    }
}

/// The kubelet's words around those of `mount`.
fn mount_failed(output: &str) -> String {
    format!(
        "MountVolume.SetUp failed for volume \"shop.orders.trial\" : mount failed: exit status 32\nMounting command: mount\n\
         Mounting arguments: -t nfs -o hard,nfsvers=4.1 10.0.0.5:/pg /var/lib/kubelet/pods/x/volumes/kubernetes.io~nfs/x\n\
         Output: {output}\n"
    )
}

#[test]
fn a_mount_that_fails_is_told_in_the_members_codes_after_its_grace() {
    for (output, code, fix) in [
        (
            "mount.nfs: mounting 10.0.0.5:/pg failed, reason given by server: No such file or directory",
            "PGS-NFS-PATH-MISSING",
            "/pg 10.0.0.11(rw,sync,no_subtree_check)",
        ),
        ("mount.nfs: access denied by server while mounting 10.0.0.5:/pg", "PGS-NFS-DENIED", "10.0.0.11(rw"),
        (
            "mount: bad option; you might need a /sbin/mount.<type> helper program.",
            "PGS-NFS-HELPER-MISSING",
            "nfs-common",
        ),
        ("mount.nfs: Protocol not supported", "PGS-NFS-VERSION", "4.1"),
        ("mount.nfs: No route to host", "PGS-NFS-UNREACHABLE", "pgset up --name orders -n shop --nfs-server"),
    ] {
        let message = mount_failed(output);
        // The port's word does not beat the mount's.
        let seen = seen(&creating(), &ended("port=refused"), &[("FailedMount", &message)]);
        assert_eq!(judged(&seen, 7), Next::Wait, "{output}");
        let finding = failed(judged(&seen, 8));
        assert_eq!((finding.code, finding.object.kind.as_str()), (code, "NFS export"), "{output}");
        assert!(finding.fix.iter().any(|line| line.contains(fix)), "{output}: {:?}", finding.fix);
    }
    // The kubelet asked before it could know: no word on the export.
    let early =
        seen(&creating(), &creating(), &[("FailedMount", "no relationship found between node and this object")]);
    assert_eq!(judged(&early, 20), Next::Wait);
}

#[test]
fn a_server_that_is_not_there_is_told_within_seconds() {
    for (word, says) in [
        ("refused", "connection refused"),
        ("no-route", "no route to host"),
        ("no-network", "network is unreachable"),
        ("timed-out", "no answer within 5 s"),
    ] {
        let seen = seen(&creating(), &ended(&format!("port={word}\n")), &[]);
        assert_eq!(judged(&seen, 7), Next::Wait);
        let finding = failed(judged(&seen, 8));
        assert_eq!(finding.code, "PGS-NFS-UNREACHABLE");
        assert!(finding.summary.contains("node node1 does not reach NFS server 10.0.0.5"), "{}", finding.summary);
        assert!(finding.evidence[0].contains(says), "{:?}", finding.evidence);
    }
    for port in ["port=open", "port=unknown", "", "port=whatever", "nonsense"] {
        assert_eq!(judged(&seen(&creating(), &ended(port), &[]), 100), Next::Wait, "{port}");
    }
    // The volumes are there before the sandbox is.
    let mut sandboxed = seen(&creating(), &ended("port=refused"), &[]);
    let condition = json!([{"type": "PodReadyToStartContainers", "status": "True"}]);
    let status = sandboxed.pods[0].status.as_mut().unwrap();
    status.conditions = serde_json::from_value(condition).unwrap();
    assert_eq!(judged(&sandboxed, 100), Next::Wait);
    // The image is on its way, so the mount is done.
    let pulling = seen(&creating(), &ended("port=refused"), &[("Pulling", "Pulling image")]);
    assert_eq!(judged(&pulling, 100), Next::Wait);
}

#[test]
fn what_is_not_the_exports_fault_is_left_to_the_members() {
    let unknown = |next: Next| match next {
        Next::Unknown(why) => why,
        other => panic!("{other:?}"),
    };
    for reason in ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "RunContainerError"] {
        let why = unknown(judged(&seen(&json!({"waiting": {"reason": reason}}), &creating(), &[]), 3));
        assert!(why.contains(reason), "{why}");
    }
    let mut nowhere = seen(&creating(), &creating(), &[]);
    let condition = json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"});
    nowhere.pods[0] = serde_json::from_value(json!({"metadata": {"name": "orders-trial"}, "spec": {"containers": []},
        "status": {"conditions": [condition]}}))
    .unwrap();
    assert_eq!(judged(&nowhere, 14), Next::Wait);
    assert!(unknown(judged(&nowhere, 15)).contains("0/3 nodes"));
    assert!(unknown(judged(&seen(&creating(), &creating(), &[]), 300)).contains("300 s"));
    nowhere.pods.clear();
    assert!(unknown(judged(&nowhere, 1)).contains("was deleted"));
    // Half a report, none, and one that would write to a terminal.
    for words in ["", "uid=999\nmode=drwx", "sh: 1: /dev/termination-log: \u{1b}[31mno", "done=no"] {
        let why = unknown(judged(&seen(&ended(words), &creating(), &[]), 2));
        assert!(!why.contains('\u{1b}'), "{why}");
    }
    let hostile = format!("make=\u{1b}[2J{}\n", "x".repeat(100_000));
    let finding = failed(judged(&seen(&ended(&hostile), &creating(), &[]), 2));
    assert!(finding.evidence[0].chars().count() < 500 && !finding.evidence[0].contains('\u{1b}'));
    let numbers = FINE.replace("free=9000000", "free=99999999999999999999").replace("ended=100.20", "ended=NaN");
    assert_eq!(judged(&seen(&ended(&numbers), &creating(), &[]), 2), Next::Passed(Vec::new()));
}

#[test]
fn its_objects_are_no_members_and_known_again() {
    let trial = trial();
    let like = json!({"spec": {"nfs": {"server": "10.0.0.5", "path": "/pg"}, "mountOptions": ["hard", "nfsvers=4.1"],
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "claimRef": {"name": "orders-pvc"}}});
    let volume = trial.volume(&like);
    assert_eq!(volume["spec"]["mountOptions"], like["spec"]["mountOptions"]);
    assert_eq!(volume["spec"]["claimRef"]["name"], "orders-trial");
    let claim = trial.claim(&like);
    assert_eq!(claim["spec"]["volumeName"], volume["metadata"]["name"]);
    let template = json!({"spec": {"containers": [{"name": "pgset", "image": "postgres:17"}]}});
    let (pod, port) = (trial.pod(&template), trial.port_pod(&template));
    assert_eq!(port["spec"]["volumes"], json!([]), "it must not wait for the mount");
    for object in [&volume, &claim, &pod, &port] {
        assert!(trial.owns(&object["metadata"]["labels"]) && object["metadata"]["labels"]["app"].is_null());
    }
    assert!(!trial.owns(&json!({"app": "orders"})) && !trial.owns(&Value::Null));
    let names = Names::new(&"orders".parse().unwrap(), &"shop".parse().unwrap());
    let folder = json!({"spec": {"hostPath": {"path": "/pg"}}});
    assert_eq!(Trial::of(&names, &folder), None);
}
