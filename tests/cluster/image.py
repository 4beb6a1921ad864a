#!/usr/bin/env python3
"""Wrap a root file system's tar as an OCI image of one layer, in a tar that containerd, docker and kind can load."""

import argparse
import hashlib
import io
import json
import os
import platform
import tarfile

OCI = "application/vnd.oci.image"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="full name, such as docker.io/library/postgres:17")
    parser.add_argument("rootfs", help="the layer, an uncompressed tar")
    parser.add_argument("output")
    parser.add_argument("--config", default="{}", help='JSON: "Cmd", "Entrypoint", "Env", "User", "StopSignal", …')
    args = parser.parse_args()

    layer_hash = hashlib.sha256()
    with open(args.rootfs, "rb") as layer:
        while chunk := layer.read(1 << 20):
            layer_hash.update(chunk)
    layer_digest = layer_hash.hexdigest()
    config = json.dumps({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": json.loads(args.config),
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer_digest]},
        "history": [{"created_by": "pgset's test cluster"}],
    }).encode()
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(f"{OCI}.config.v1+json", config),
        "layers": [{
            "mediaType": f"{OCI}.layer.v1.tar",
            "digest": "sha256:" + layer_digest,
            "size": os.path.getsize(args.rootfs),
        }],
    }).encode()
    index = json.dumps({
        "schemaVersion": 2,
        "manifests": [descriptor(f"{OCI}.manifest.v1+json", manifest) | {
            "platform": {"architecture": ARCHITECTURE, "os": "linux"},
            "annotations": {
                "io.containerd.image.name": args.name,
                "org.opencontainers.image.ref.name": args.name.rpartition(":")[2],
            },
        }],
    }).encode()

    with tarfile.open(args.output, "w") as tar:
        for path, data in (
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", index),
            (blob(manifest), manifest),
            (blob(config), config),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        # The layer comes last: whoever wants the root file system takes the last file out of the image.
        entry = tarfile.TarInfo("blobs/sha256/" + layer_digest)
        entry.size = os.path.getsize(args.rootfs)
        with open(args.rootfs, "rb") as layer:
            tar.addfile(entry, layer)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def blob(data):
    return "blobs/sha256/" + digest(data)


def descriptor(media_type, data):
    return {"mediaType": media_type, "digest": "sha256:" + digest(data), "size": len(data)}


if __name__ == "__main__":
    main()
