#!/usr/bin/env python3
"""Stand-ins for the Crunchy images: a PostgreSQL image's layer, one more with the scripts of crunchy/, and a tag for each
version whose manners are to be had. All in one tar, so that the large layer is there once."""

import argparse
import hashlib
import io
import json
import pathlib
import tarfile

from image import ARCHITECTURE, OCI, blob, descriptor

PASSWD = b"root:x:0:0:root:/root:/bin/bash\npostgres:x:26:26:PostgreSQL Server:/var/lib/pgsql:/bin/bash\n"
GROUP = b"root:x:0:\npostgres:x:26:\nnogroup:x:65534:\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="a PostgreSQL image that image.py wrote")
    parser.add_argument("output")
    parser.add_argument("names", nargs="+", help="full names, each with the version at the end of its tag")
    args = parser.parse_args()

    scripts = layer(pathlib.Path(__file__).parent / "crunchy")
    with tarfile.open(args.base) as base, tarfile.open(args.output, "w") as output:
        rootfs = base.getmembers()[-1]
        layers = [("sha256:" + rootfs.name.rpartition("/")[2], rootfs.size), (sha256(scripts), len(scripts))]
        manifests = []
        for name in args.names:
            config = configuration(name, layers)
            manifest = json.dumps({
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": descriptor(f"{OCI}.config.v1+json", config),
                "layers": [{"mediaType": f"{OCI}.layer.v1.tar", "digest": digest, "size": size} for digest, size in layers],
            }).encode()
            add(output, blob(config), config)
            add(output, blob(manifest), manifest)
            manifests.append(descriptor(f"{OCI}.manifest.v1+json", manifest) | {
                "platform": {"architecture": ARCHITECTURE, "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            })
        add(output, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(output, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
        add(output, blob(scripts), scripts)
        output.addfile(rootfs, base.extractfile(rootfs))


def configuration(name, layers):
    version = name.rpartition("-")[2]
    return json.dumps({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {
            "Cmd": ["/opt/cpm/bin/start.sh"],
            "User": "26",
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                    f"CCP_VERSION={version}"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest for digest, _ in layers]},
        "history": [{"created_by": "pgset's test cluster"}] * len(layers),
    }).encode()


def layer(folder):
    """The scripts where the real images have them, and the user they run as."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path in ("pgdata", "opt", "opt/cpm", "opt/cpm/bin", "opt/crunchy", "opt/crunchy/bin", "var/lib/pgsql"):
            entry = tarfile.TarInfo(path)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o777 if path == "pgdata" else 0o755
            tar.addfile(entry)
        # Where the versions from 4.6 on have them.
        entry = tarfile.TarInfo("opt/crunchy/bin/postgres")
        entry.type = tarfile.SYMTYPE
        entry.linkname = "/opt/cpm/bin"
        tar.addfile(entry)
        for script in sorted(folder.glob("*.sh")):
            add(tar, f"opt/cpm/bin/{script.name}", script.read_bytes(), 0o755)
        add(tar, "etc/passwd", PASSWD)
        add(tar, "etc/group", GROUP)
    return data.getvalue()


def add(tar, path, data, mode=0o644):
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
