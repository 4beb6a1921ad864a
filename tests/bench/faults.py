#!/usr/bin/env python3
"""Ten faults, and how long three tools take to end and to name the cause: pgset, kubectl rollout status, helm install
--wait; and how long after the cluster itself knew it pgset said it. Prints a Markdown table.

  tests/bench/faults.py [--pgset target/release/pgset] [--timeout 60] [--only WORD]

The cluster is that of KUBECONFIG. Each run has a namespace of its own, removed afterwards. helm is left out where there is
none on PATH. kubectl applies what `pgset render` writes, and helm a chart made of the same; all three get the same time.

"said after" is the time from the moment the cause was in the cluster, as two `kubectl get --watch` of the namespace's
events and pods saw it, to the moment it was in what pgset had printed. What pgset finds without the cluster saying it, from
a container's log, has the container's end as that moment."""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

# Name, options of pgset, change to the manifests, objects that make the fault, words of which one names the cause.
FAULTS = [
    ("image that does not exist", ["--image", "docker.io/library/postgres:none"], None, None, ["not found", "does not exist"]),
    ("registry that refuses", ["--image", "denied.example.com/postgres:17"], None, None, ["403 Forbidden", "access denied", "does not give"]),
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


class Heard(threading.Thread):
    """Reads what a process prints as it comes, and notes when one of some words was in it first."""

    def __init__(self, stream, words):
        super().__init__(daemon=True)
        self.stream, self.words, self.said, self.first = stream, words, "", None
        self.start()

    def run(self):
        for line in self.stream:
            self.said += line
            if self.first is None and any(word in line for word in self.words):
                self.first = time.monotonic()


class Watched:
    """The events and pods of a namespace, from now until the end of the block."""

    def __init__(self, namespace, words):
        command = ["kubectl", "-n", namespace, "get", "--watch", "--output-watch-events", "-o", "json"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.processes = [subprocess.Popen([*command, kind], **pipes) for kind in ("events", "pods")]
        self.heard = [Heard(process.stdout, words) for process in self.processes]
        # kubectl does not say when its watch stands.
        time.sleep(2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.wait()

    def first(self):
        return min((heard.first for heard in self.heard if heard.first is not None), default=None)


# What the cluster itself says of a fault, where that is not what pgset makes of it.
CLUSTERS_WORDS = {
    "registry that refuses": ["403 Forbidden", "access denied"],
    "not a PostgreSQL image": ["\"terminated\""],
    "wrong setting, crash loop": ["\"terminated\""],
    "too little memory on the node": ["Insufficient memory"],
    "ServiceAccount missing": ["nobody\\\" not found"],
    "Secret missing": ["nothing\\\" not found"],
    "LimitRange": ["maximum memory"],
    "quota of pods": ["exceeded quota"],
}


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
    return command


def said_after(arguments, command, place, name, words):
    """Runs pgset beside two watches; how long it took, what it said, and how long after the cluster it said so."""
    with Watched(place.name, CLUSTERS_WORDS.get(name, words)) as watched:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        heard = Heard(process.stderr, words)
        process.wait(arguments.timeout + 30)
        took = time.monotonic() - began
        heard.join()
        known = watched.first()
    late = None if known is None or heard.first is None else max(0.0, heard.first - known)
    return took, heard.said, late


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
    tools = [("kubectl rollout status", with_kubectl)]
    if shutil.which("helm"):
        tools.append(("helm install --wait", with_helm))
    print("| fault | pgset up | said after | " + " | ".join(name for name, _ in tools) + " |")
    print("|---" * (len(tools) + 3) + "|")
    for name, options, change, fault, words in FAULTS:
        if arguments.only not in name:
            continue
        with Place(fault) as place, tempfile.TemporaryDirectory() as folder:
            command = with_pgset(arguments, options, change, place.name, folder)
            seconds, said, late = said_after(arguments, command, place, name, words)
            cells = [cell(arguments, seconds, said, words), "?" if late is None else f"{late:.1f} s"]
        for _, tool in tools:
            with Place(fault) as place, tempfile.TemporaryDirectory() as folder:
                seconds, _, said = tool(arguments, options, change, place.name, folder)
                cells.append(cell(arguments, seconds, said, words))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
