//! Images: what a registry, a node or an image itself can keep from coming up.

use crate::findings::{fails, objects, templates, waits};
use crate::harness::{Namespace, cluster, cluster_is_ours, root};

#[test]
fn an_image_that_is_missing_malformed_slow_or_no_postgresql() {
    let space = Namespace::new("image-names");
    let missing = fails(
        &space,
        &["up", "--image", "docker.io/library/postgres:none"],
        "PGS-IMAGE-NOT-FOUND",
        &["does not exist", "--image"],
    );
    let named = objects(&missing);
    assert!(named.iter().all(|pod| pod.starts_with("pgset-")), "{named:?}");
    // Both members wait for the same image: status tells it once, and names both.
    crate::harness::wait_for("both to be told in one finding", || {
        let status = space.pgset(&["status", "-o", "json"]).expect(3).json();
        let findings = status["findings"].as_array().unwrap();
        (findings.len() == 1 && objects(&findings[0]) == ["pgset-0", "pgset-1"]).then_some(())
    });

    let malformed = Namespace::beside(&space, "malformed");
    let bad =
        templates(&malformed, "malformed", "statefulset.yaml", &[("image: {{ image }}", "image: \"Not An Image\"")]);
    fails(
        &malformed,
        &["up", "--templates", bad.as_str()],
        "PGS-IMAGE-INVALID",
        &["Not An Image", "not a valid image name"],
    );

    // A registry that takes its time: a pull like any other.
    let slow = Namespace::beside(&space, "slow");
    let directory = crate::harness::HostDirectory::new("slow");
    let up = ["up", "--storage", "hostpath", "--host-path", directory.as_str(), "--replicas", "1"];
    // With its claim bound before, so that nothing but the image is waited for.
    slow.pgset(&up).expect(0);
    let command = [&up[..], &["--image", "slow.example.com/postgres:17"]].concat();
    waits(&slow, &command, "8s", "PGS-IMAGE-PULLING", &["still being pulled", "crictl pull"]);
}

#[test]
fn an_image_without_postgresql_without_a_shell_or_for_other_processors() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::new("no-postgres");
    let one = ["up", "--replicas", "1"];
    let up = |image| [&one[..], &["--image", image, "--uid", "999"]].concat();
    fails(
        &space,
        &up("docker.io/library/busybox:1"),
        "PGS-IMAGE-NOT-POSTGRES",
        &["the image has no postgres", "--image"],
    );
    let shell = Namespace::beside(&space, "no-shell");
    fails(&shell, &up("localhost/pause:1"), "PGS-CONTAINER-NOT-STARTED", &["no /bin/sh", "--image"]);

    let folder = crate::harness::HostDirectory::new("arch");
    let image = "docker.io/library/pgset-test-arch:1";
    foreign_image(&folder, image);
    let arch = Namespace::beside(&space, "arch");
    fails(&arch, &up(image), "PGS-WRONG-ARCHITECTURE", &["another processor architecture", "kubernetes.io/arch"]);
}

/// An image whose shell is the beginning of a program for IBM mainframes.
fn foreign_image(folder: &crate::harness::HostDirectory, name: &str) {
    let path = |file: &str| folder.path.join(file).to_str().unwrap().to_owned();
    let mut program = vec![0x7f, b'E', b'L', b'F', 2, 2, 1];
    program.resize(16, 0);
    program.extend([0, 2, 0, 22, 0, 0, 0, 1]);
    program.resize(256, 0);
    std::fs::create_dir_all(path("root/bin")).unwrap();
    std::fs::write(path("root/bin/sh"), program).unwrap();
    std::fs::set_permissions(path("root/bin/sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        assert!(
            std::process::Command::new(program).args(arguments).status().unwrap().success(),
            "{program} {arguments:?}"
        );
    };
    run("tar", &["-C", &path("root"), "-cf", &path("root.tar"), "bin"]);
    let wrap = root().join("tests/cluster/image.py");
    run("python3", &[wrap.to_str().unwrap(), name, &path("root.tar"), &path("image.tar")]);
    cluster(&["load-image", &path("image.tar")]);
}

#[test]
fn a_registry_that_cannot_be_reached() {
    if !cluster_is_ours() {
        return;
    }
    let space = Namespace::alone("registry");
    cluster(&["stop", "no-registry"]);
    let _back = crate::findings::Started("no-registry");
    let up = ["up", "--replicas", "1", "--image", "registry.example.com/postgres:17"];
    fails(&space, &up, "PGS-IMAGE-UNREACHABLE", &["cannot be reached", "network and proxy"]);
}
