#!/usr/bin/env python3
"""Ten faults, and how long three tools take to end and to name the cause: pgset, kubectl rollout status, helm install
--wait. Prints a Markdown table.

  tests/bench/faults.py [--pgset target/release/pgset] [--timeout 60] [--only WORD]

The cluster is that of KUBECONFIG. Each run has a namespace of its own, removed afterwards. helm is left out where there is
none on PATH. kubectl applies what `pgset render` writes, and helm a chart made of the same; all three get the same time."""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time

# Name, options of pgset, change to the manifests, objects that make the fault, words of which one names the cause.
FAULTS = [
    ("image that does not exist", ["--image", "docker.io/library/postgres:none"], None, None, ["not found", "does not exist"]),
    ("registry that refuses", ["--image", "denied.example.com/postgres:17"], None, None, ["denied", "forbidden", "does not give"]),
    ("not a PostgreSQL image", ["--image", "docker.io/library/busybox:1", "--uid", "999"], None, None, ["has no postgres"]),
    ("quota of pods", [], None, "quota", ["quota"]),
    ("LimitRange", [], None, "limits", ["LimitRange", "maximum memory"]),
    ("ServiceAccount missing", [], ("serviceAccountName: pgset-sa", "serviceAccountName: nobody"), None, ["nobody"]),
    ("Secret missing", [], ("secretName: pgset-passwords", "secretName: nothing"), None, ["nothing"]),
    ("wrong setting, crash loop", ["--set-parameter", "max_connections=banana"], None, None, ["banana"]),
    ("too little memory on the node", ["--memory", "9Ti"], None, None, ["nsufficient memory", "enough memory"]),
    ("PodSecurity", [], ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"), "restricted", ["PodSecurity", "allowPrivilegeEscalation"]),
]


def run(command, time_limit=None, **more):
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit, **more)
        return time.monotonic() - began, done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as expired:
        said = [part.decode() if isinstance(part, bytes) else part or "" for part in (expired.stdout, expired.stderr)]
        return time.monotonic() - began, None, "".join(said)


def kubectl(*arguments, **more):
    return run(["kubectl", *arguments], **more)


class Place:
    """A namespace with the fault in it."""

    count = 0

    def __init__(self, fault):
        Place.count += 1
        self.name = f"pgset-bench-faults-{os.getpid()}-{Place.count}"
        kubectl("create", "namespace", self.name)
        if fault == "quota":
            kubectl("-n", self.name, "create", "quota", "tiny", "--hard=pods=0")
        elif fault == "limits":
            limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
                      "spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}}
            kubectl("-n", self.name, "apply", "-f", "-", input=json.dumps(limits))
        elif fault == "restricted":
            kubectl("label", "namespace", self.name, "pod-security.kubernetes.io/enforce=restricted")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kubectl("delete", "namespace", self.name, "--wait=false")


def manifests(arguments, options, change, namespace, folder):
    """What pgset renders, and the Secret it leaves to kubectl."""
    code, text = run([arguments.pgset, "render", "-n", namespace, *options])[1:]
    if code != 0:
        raise SystemExit(text)
    if change:
        assert change[0] in text or change[0].replace(": ", ': "') in text, change
        text = replaced(text, change)
    path = os.path.join(folder, "set.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pgset-passwords"},
              "stringData": {key: "bench-only" for key in ("superuser", "replication", "user")}}
    kubectl("-n", namespace, "apply", "-f", "-", input=json.dumps(secret))
    return path


def replaced(text, change):
    before, after = change
    if before not in text:
        before, after = (part.replace(": ", ': "') + '"' for part in change)
    return text.replace(before, after)


def with_pgset(arguments, options, change, namespace, folder):
    command = [arguments.pgset, "up", "-n", namespace, "--timeout", f"{arguments.timeout}s", *options]
    if change:
        templates = os.path.join(folder, "templates")
        run([arguments.pgset, "render", "--eject", templates])
        path = os.path.join(templates, "statefulset.yaml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        # Names are expressions in the templates.
        template = {"serviceAccountName: pgset-sa": "serviceAccountName: {{ service_account }}",
                    "secretName: pgset-passwords": "secretName: {{ passwords }}"}.get(change[0], change[0])
        assert template in text, template
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(template, change[1]))
        command += ["--templates", templates]
    return run(command, arguments.timeout + 30)


def with_kubectl(arguments, options, change, namespace, folder):
    path = manifests(arguments, options, change, namespace, folder)
    began = time.monotonic()
    applied = kubectl("apply", "-f", path)[2]
    said = kubectl("-n", namespace, "rollout", "status", "statefulset/pgset", f"--timeout={arguments.timeout}s")[2]
    return time.monotonic() - began, None, applied + said


def with_helm(arguments, options, change, namespace, folder):
    path = manifests(arguments, options, change, namespace, folder)
    chart = os.path.join(folder, "chart")
    os.makedirs(os.path.join(chart, "templates"))
    shutil.copy(path, os.path.join(chart, "templates"))
    with open(os.path.join(chart, "Chart.yaml"), "w", encoding="utf-8") as file:
        file.write("apiVersion: v2\nname: pgset\nversion: 0.0.1\n")
    return run(["helm", "install", "pgset", chart, "-n", namespace, "--wait", "--timeout", f"{arguments.timeout}s"],
               arguments.timeout + 30)


def cell(arguments, seconds, said, words):
    named = any(word in said for word in words)
    shown = f">{arguments.timeout}" if seconds >= arguments.timeout else f"{seconds:.1f}"
    return f"{shown} s, {'names it' if named else 'no cause'}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pgset", default="target/release/pgset")
    parser.add_argument("--timeout", type=int, default=60, help="seconds each tool gets")
    parser.add_argument("--only", default="", help="only the faults whose name has this word")
    arguments = parser.parse_args()
    arguments.pgset = os.path.abspath(arguments.pgset)
    tools = [("pgset up", with_pgset), ("kubectl rollout status", with_kubectl)]
    if shutil.which("helm"):
        tools.append(("helm install --wait", with_helm))
    print("| fault | " + " | ".join(name for name, _ in tools) + " |")
    print("|---" * (len(tools) + 1) + "|")
    for name, options, change, fault, words in FAULTS:
        if arguments.only not in name:
            continue
        cells = []
        for _, tool in tools:
            with Place(fault) as place, tempfile.TemporaryDirectory() as folder:
                seconds, _, said = tool(arguments, options, change, place.name, folder)
                cells.append(cell(arguments, seconds, said, words))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
