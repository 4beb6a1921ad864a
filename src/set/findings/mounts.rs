//! A volume that cannot be mounted: an event on the pod, in the words of the kubelet and of `mount`.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::super::inquiry::{MOUNTING, is_mounting};
use super::super::observation::{Observation, PodReading};
use super::{Asked, Depth, Entry, Finding, Severity, began, references};

/// A mount is retried after half a second, one, two, four…: what fails for this long keeps failing.
const GRACE: SignedDuration = SignedDuration::from_secs(8);

pub(super) fn findings(asked: &Asked<'_>) -> Vec<Finding> {
    asked.seen.pods.iter().filter_map(|pod| mount(asked, pod).or_else(|| silent_server(asked, pod))).collect()
}

fn mount(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    let name = pod.metadata.name.as_deref()?;
    let failures = ["FailedMount", "FailedAttachVolume"];
    let newest =
        asked.seen.events_of("Pod", name).filter(|e| e.reason.as_deref().is_some_and(|r| failures.contains(&r)));
    let event = newest.last().filter(|_| !pod.is_running())?;
    let message = event.message.as_deref()?;
    // The kubelet asked before the Node authorizer knew the pod, or before it knew of the claim's volume (it asks again, and
    // a claim that stays unbound is told as such), or has not been sent what it asked for yet (a node that is cut off is told
    // as such), or a reference is missing (told there).
    let elsewhere = [
        "no relationship found",
        "PVC is not bound",
        "failed to sync configmap cache",
        "failed to sync secret cache",
        "secret \"",
        "configmap \"",
    ];
    if elsewhere.iter().any(|words| message.contains(words)) || references::unmounted(pod, message).is_some() {
        return None;
    }
    let finding = told(asked, pod, name, message);
    Some(finding.evidence(trimmed(message)).blocking_from(began(event).max(asked.since), GRACE))
}

/// What `mount` said, without the command line around it that `Mounting arguments` repeats.
fn trimmed(message: &str) -> String {
    match message.split_once("Output: ") {
        Some((before, output)) => {
            let volume = before.split(" : ").next().unwrap_or_default();
            format!("{volume}: {}", output.trim())
        }
        None => message.to_owned(),
    }
}

fn told(asked: &Asked<'_>, pod: &Pod, name: &str, message: &str) -> Finding {
    let about = |code, summary: String| Finding::new(code, Severity::Blocking, "Pod", name, summary);
    if message.contains("hostPath type check failed") {
        let path =
            message.rsplit_once("check failed: ").and_then(|(_, rest)| rest.split(" is not").next()).unwrap_or("DIR");
        return about("PGS-HOSTPATH-MISSING", "the host path does not exist on the node".to_owned())
            .fix(format!("on the node: mkdir -p {path} && chmod 777 {path}"));
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("NODE");
    match nfs_source(message) {
        Some((server, path)) => {
            let line = exports_line(path, &asked.seen.nodes);
            nfs(name, node, (server, path), &line, message)
        }
        None => about("PGS-MOUNT-FAILED", "the volume cannot be mounted".to_owned())
            .fix("mend what the message names; the kubelet tries again by itself"),
    }
}

/// Server and path of an NFS mount that failed.
fn nfs_source(message: &str) -> Option<(&str, &str)> {
    let (_, arguments) = message.split_once("Mounting arguments: ")?;
    let words: Vec<&str> = arguments.lines().next()?.split_whitespace().collect();
    let is_nfs = words.windows(2).any(|pair| pair[0] == "-t" && pair[1].starts_with("nfs"));
    let source = words.iter().rev().find(|word| word.contains(":/")).filter(|_| is_nfs)?;
    source.split_once(":/").map(|(server, _)| (server, &source[server.len() + 1..]))
}

/// More addresses than this make no line that anybody would type.
const FEW: usize = 8;

/// The line of `/etc/exports` that lets these nodes in; where they are not known, or many, with a word in their place.
pub(super) fn exports_line(path: &str, nodes: &[Node]) -> String {
    let addresses: Vec<&str> = nodes.iter().filter_map(address).collect();
    let nodes = match addresses.len() {
        1..=FEW => addresses,
        _ => vec!["NODES"],
    };
    let clients: Vec<String> = nodes.iter().map(|node| format!("{node}(rw,sync,no_subtree_check)")).collect();
    format!("{path} {}", clients.join(" "))
}

/// The address a node has on the cluster's own network.
fn address(node: &Node) -> Option<&str> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP").map(|address| address.address.as_str())
}

/// A server that nobody answers at.
pub(super) fn unreachable(kind: &str, name: &str, node: &str, server: &str) -> Finding {
    let summary = format!("node {node} does not reach NFS server {server} on port 2049");
    Finding::new("PGS-NFS-UNREACHABLE", Severity::Blocking, kind, name, summary)
        .fix(format!("does an NFS server run there? on {server}: systemctl status nfs-server"))
        .fix(format!(
            "or give the right one: pgset up --nfs-server … (it is {server} now); look at firewalls on the way"
        ))
}

fn nfs(name: &str, node: &str, (server, path): (&str, &str), line: &str, message: &str) -> Finding {
    let about = |code, summary: String| Finding::new(code, Severity::Blocking, "Pod", name, summary);
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["helper program", "unknown filesystem type 'nfs", "No such device"]) {
        about("PGS-NFS-HELPER-MISSING", format!("node {node} cannot mount NFS: it lacks the client"))
            .fix(format!("on node {node}: apt-get install nfs-common (Debian, Ubuntu), or dnf install nfs-utils"))
            .fix("the kubelet tries again by itself")
    } else if says(&["reason given by server: No such file", "No such file or directory"]) {
        // NFS 4 hides an export from whomever it is not for.
        about("PGS-NFS-PATH-MISSING", format!("NFS server {server} does not export {path}, or not to node {node}"))
            .fix(format!("on {server}: mkdir -p {path}; in /etc/exports: {line}; then: exportfs -ra"))
            .fix("if it has a line for the path: let all nodes in there, with the addresses of the line above")
            .fix(format!("or give the path it has (showmount -e {server}): pgset up --nfs-path …"))
    } else if says(&["access denied", "Operation not permitted", "Permission denied"]) {
        about("PGS-NFS-DENIED", format!("NFS server {server} does not let node {node} mount {path}"))
            .fix(format!("on {server}, let all nodes in; in /etc/exports: {line}; then: exportfs -ra"))
    } else if says(&["Stale file handle"]) {
        about(
            "PGS-NFS-STALE",
            format!("what NFS server {server} exports as {path} is not what it was when it was mounted"),
        )
        .fix(format!("on {server}: is the file system behind {path} mounted? then: exportfs -ra"))
    } else if says(&["No route to host", "Connection refused", "timed out", "Network is unreachable"]) {
        unreachable("Pod", name, node, server)
    } else if says(&["Protocol not supported", "is not supported"]) {
        about("PGS-NFS-VERSION", format!("NFS server {server} does not speak NFS 4.1"))
            .fix("enable version 4.1 on the server, or put what it speaks into the volume's mountOptions")
    } else if says(&["Name or service not known", "Failed to resolve", "Temporary failure in name resolution"]) {
        about("PGS-NFS-UNREACHABLE", format!("node {node} does not know the name of the NFS server, {server}"))
            .fix("nodes do not ask the cluster's DNS: give an address: pgset up --nfs-server …")
    } else {
        about("PGS-MOUNT-FAILED", format!("{path} of NFS server {server} cannot be mounted on node {node}"))
            .fix("mend what the message names; the kubelet tries again by itself")
    }
}

/// A mount from a server that does not answer says nothing for minutes: until then all there is to tell is what is waited
/// for.
fn silent_server(asked: &Asked<'_>, pod: &Pod) -> Option<Finding> {
    if !is_mounting(asked.seen, pod) {
        return None;
    }
    let name = pod.metadata.name.as_deref()?;
    let (server, path) = nfs_of(asked.seen, name)?;
    let summary = format!("{path} of NFS server {server} is being mounted");
    Some(
        Finding::new("PGS-NFS-MOUNTING", Severity::Waiting, "Pod", name, summary)
            .fix(format!("a server that does not answer shows only after minutes; is there one? nc -vz {server} 2049"))
            .normal_for(pod.scheduled_at().max(asked.since), MOUNTING),
    )
}

/// Server and path of the NFS volume that a pod's claim is bound to, where the volumes were asked for.
pub(super) fn nfs_of<'a>(seen: &'a Observation, pod: &str) -> Option<(&'a str, &'a str)> {
    let volumes = seen.volumes.as_ref()?;
    let of_pod = seen.pod(pod)?.claims();
    let claims = seen.claims.iter().filter(|claim| claim.metadata.name.as_deref().is_some_and(|n| of_pod.contains(&n)));
    let bound = claims.filter_map(|claim| claim.spec.as_ref()?.volume_name.as_deref());
    let mut mounts = bound.filter_map(|volume| {
        let found = volumes.iter().find(|one| one.metadata.name.as_deref() == Some(volume))?;
        found.spec.as_ref()?.nfs.as_ref()
    });
    mounts.next().map(|nfs| (nfs.server.as_str(), nfs.path.as_str()))
}

/// What this family finds.
pub(super) const CATALOGUE: &[Entry] = &[
    Entry {
        code: "PGS-HOSTPATH-MISSING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the host path does not exist",
        meaning: "The directory that the volume names is not there on the node.",
        known_by: "A FailedMount event on the pod: hostPath type check failed.",
        fix: "Make the directory on the node.",
        doubt: "On a cluster of several nodes it may exist on another one.",
    },
    Entry {
        code: "PGS-MOUNT-FAILED",
        severity: Severity::Blocking,
        depth: Depth::Member,
        title: "a volume cannot be mounted",
        meaning: "The node cannot mount a member's volume.",
        known_by: "FailedMount or FailedAttachVolume events on the pod, with the words of the kubelet and of mount.",
        fix: "Mend what the message names; the kubelet tries again by itself.",
        doubt: "A server that restarts is back soon; the kubelet has tried several times by then.",
    },
    Entry {
        code: "PGS-NFS-UNREACHABLE",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the NFS server is not reached",
        meaning: "The node does not get an answer from the NFS server.",
        known_by: "A FailedMount event with the words of mount.nfs: no route, refused, timed out, or unknown name; before that, a pod of the preflight that asked port 2049.",
        fix: "Start the server, open port 2049 on the way, or give the right address with --nfs-server.",
        doubt: "A server that restarts is back soon; the kubelet tries again by itself.",
    },
    Entry {
        code: "PGS-NFS-PATH-MISSING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the NFS server does not export the path, or not to the node",
        meaning: "The server answers, but has no export of that path for the node.",
        known_by: "A FailedMount event: reason given by server: No such file or directory.",
        fix: "Make the directory and its line in /etc/exports with the nodes' addresses, or give another path with --nfs-path.",
        doubt: "A server with NFS 4 says the same of a path it does not have and of one that is not for this node.",
    },
    Entry {
        code: "PGS-NFS-DENIED",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the NFS server refuses the node",
        meaning: "The server exports the path, but not to this node.",
        known_by: "A FailedMount event: access denied, or operation not permitted.",
        fix: "Let the node's address in, in /etc/exports.",
        doubt: "Some servers say so of a path they do not have.",
    },
    Entry {
        code: "PGS-NFS-HELPER-MISSING",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the node has no NFS client",
        meaning: "The node lacks the program or the kernel module with which NFS is mounted.",
        known_by: "A FailedMount event: bad option, helper program, or unknown filesystem type.",
        fix: "Install nfs-common or nfs-utils on every node.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-NFS-STALE",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the NFS export is not what it was",
        meaning: "The server no longer knows the directory that was mounted.",
        known_by: "Stale file handle, in a FailedMount event.",
        fix: "Is the file system behind the export mounted on the server? Then exportfs -ra.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-NFS-VERSION",
        severity: Severity::Blocking,
        depth: Depth::Set,
        title: "the NFS server does not speak NFS 4.1",
        meaning: "The volumes are mounted with NFS 4.1, which the server does not offer.",
        known_by: "A FailedMount event: protocol not supported.",
        fix: "Enable version 4.1, or change the volume's mountOptions.",
        doubt: "None known.",
    },
    Entry {
        code: "PGS-NFS-MOUNTING",
        severity: Severity::Waiting,
        depth: Depth::Member,
        title: "an NFS volume is being mounted",
        meaning: "A pod waits for a volume of an NFS server, which may not answer.",
        known_by: "The pod has a node and no container for longer than a mount takes, and its volume is on NFS.",
        fix: "See whether a server answers on port 2049.",
        doubt: "A busy node creates containers slowly.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{event, noon, pod, seen};
    use super::*;

    fn found(message: &str) -> Vec<Finding> {
        let seen = seen(json!([pod("pgset-0", json!({}))]), json!([event("Pod", "pgset-0", "FailedMount", message)]));
        findings(&Asked { seen: &seen, since: None })
    }

    /// The kubelet's words around those of `mount`.
    fn failed(output: &str) -> String {
        format!(
            "MountVolume.SetUp failed for volume \"pv1\" : mount failed: exit status 32\nMounting command: mount\n\
             Mounting arguments: -t nfs -o hard,nfsvers=4.1 10.0.0.5:/srv/pg /var/lib/kubelet/pods/x/volumes/kubernetes.io~nfs/pv1\n\
             Output: {output}\n"
        )
    }

    #[test]
    fn a_missing_host_path_names_the_directory_to_make() {
        let message =
            "MountVolume.SetUp failed for volume \"pv1\" : hostPath type check failed: /srv/pg is not a directory";
        let found = found(message);
        assert_eq!(found[0].code, "PGS-HOSTPATH-MISSING");
        assert_eq!(found[0].fix[0], "on the node: mkdir -p /srv/pg && chmod 777 /srv/pg");
    }

    #[test]
    fn each_way_an_nfs_mount_fails_has_its_code_and_ends_a_wait_after_its_grace() {
        for (output, code, fix) in [
            ("mount.nfs: No route to host", "PGS-NFS-UNREACHABLE", "pgset up --nfs-server"),
            ("mount.nfs: Connection refused", "PGS-NFS-UNREACHABLE", "systemctl status nfs-server"),
            ("mount.nfs: Connection timed out", "PGS-NFS-UNREACHABLE", "10.0.0.5"),
            (
                "mount.nfs: mounting 10.0.0.5:/srv/pg failed, reason given by server: No such file or directory",
                "PGS-NFS-PATH-MISSING",
                "showmount -e 10.0.0.5",
            ),
            (
                "mount.nfs: mounting 10.0.0.5:/srv/pg failed, reason given by server: No such file or directory",
                "PGS-NFS-PATH-MISSING",
                "let all nodes in",
            ),
            ("mount.nfs: access denied by server while mounting 10.0.0.5:/srv/pg", "PGS-NFS-DENIED", "/etc/exports"),
            ("mount.nfs: Operation not permitted", "PGS-NFS-DENIED", "exportfs -ra"),
            (
                "mount: /var/lib/kubelet/x: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.",
                "PGS-NFS-HELPER-MISSING",
                "apt-get install nfs-common",
            ),
            ("mount.nfs: Stale file handle", "PGS-NFS-STALE", "exportfs -ra"),
            ("mount.nfs: Protocol not supported", "PGS-NFS-VERSION", "4.1"),
            (
                "mount.nfs: Failed to resolve server nas: Name or service not known",
                "PGS-NFS-UNREACHABLE",
                "give an address",
            ),
            ("mount.nfs: something new", "PGS-MOUNT-FAILED", "mend"),
        ] {
            let found = &found(&failed(output))[0];
            assert_eq!((found.code, found.object.name.as_str()), (code, "pgset-0"), "{output}");
            assert!(found.fix.iter().any(|line| line.contains(fix)), "{output}: {:?}", found.fix);
            assert!(!found.ends_wait(noon() + GRACE - SignedDuration::from_millis(1)), "{output}");
            assert!(found.ends_wait(noon() + GRACE), "{output}");
            assert!(found.evidence[0].contains(output), "{:?}", found.evidence);
        }
    }

    #[test]
    fn what_the_kubelet_asked_too_early_is_no_finding() {
        for message in [
            "failed to sync: no relationship found between node 'x' and this object",
            "Unable to attach or mount volumes: error processing PVC shop/pgdata-pgset-2: PVC is not bound",
            "MountVolume.SetUp failed for volume \"config\" : failed to sync configmap cache: timed out waiting for the condition",
            "MountVolume.SetUp failed for volume \"passwords\" : failed to sync secret cache: timed out waiting for the condition",
        ] {
            assert!(found(message).is_empty(), "{message}");
        }
    }

    #[test]
    fn the_exports_line_names_the_nodes_where_they_are_few() {
        let node = |address: &str| -> Node {
            let addresses = json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": address}]);
            serde_json::from_value(json!({"metadata": {}, "status": {"addresses": addresses}})).unwrap()
        };
        let two = [node("10.0.0.11"), node("10.0.0.12")];
        let line = "/pg 10.0.0.11(rw,sync,no_subtree_check) 10.0.0.12(rw,sync,no_subtree_check)";
        assert_eq!(exports_line("/pg", &two), line);
        let many: Vec<Node> = (0..=FEW).map(|number| node(&format!("10.0.0.{number}"))).collect();
        for nodes in [&many[..], &[]] {
            assert_eq!(exports_line("/pg", nodes), "/pg NODES(rw,sync,no_subtree_check)");
        }
    }

    #[test]
    fn an_nfs_server_that_says_nothing_is_named_as_what_is_waited_for() {
        let waiting = json!({"state": {"waiting": {"reason": "ContainerCreating"}}});
        let mut creating = pod("pgset-0", waiting);
        creating["spec"]["volumes"] = json!([{"name": "pgdata", "persistentVolumeClaim": {"claimName": "pgset-pvc"}}]);
        let mut seen = seen(json!([creating]), json!([]));
        let claim = json!({"metadata": {"name": "pgset-pvc"}, "spec": {"volumeName": "pv1"}});
        seen.claims = vec![serde_json::from_value(claim).unwrap()];
        assert!(findings(&Asked { seen: &seen, since: None }).is_empty());
        let volume = json!([{"metadata": {"name": "pv1"}, "spec": {"nfs": {"server": "10.0.0.5", "path": "/srv/pg"}}}]);
        seen.volumes = Some(serde_json::from_value(volume).unwrap());
        let found = findings(&Asked { seen: &seen, since: None });
        assert_eq!((found[0].code, found[0].severity), ("PGS-NFS-MOUNTING", Severity::Waiting));
        assert!(found[0].summary.contains("/srv/pg of NFS server 10.0.0.5"));
    }
}
