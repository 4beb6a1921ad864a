#!/usr/bin/env python3
"""Healthy runs on a loaded machine: none may end badly, none may print a fatal or blocking finding.

  false_alarms.py [--rounds 25] [--load 4] [--minutes 45] [--pgset FILE]

A round is four runs, `up` of two members, `scale 3`, `restart` and `scale 2`, and then `down` with the data, in a namespace
of its own. Meanwhile --load busy loops, children of this program, compete for the processors. Stops by itself: after
--rounds (at most 100), after --minutes, and at the first Ctrl-C, with the namespaces and the busy loops gone.

Exit code 0 when no run failed and no finding that ends a wait was printed.
"""

import argparse
import json
import os
import pathlib
import re
import secrets
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests/cluster/cluster.sh"
FINDING = re.compile(r"\bPGS-[A-Z-]+")
MOST_ROUNDS = 100


def kubectl(*words, check=True):
    return subprocess.run([CLUSTER, "kubectl", *words], check=check, capture_output=True, text=True).stdout


class Load:
    """Busy loops, each a child of its own that ends with this program, however that ends."""

    def __init__(self, count):
        parent = os.getpid()
        loop = f"import os\nwhile os.getppid() == {parent}:\n    sum(range(200000))\n"
        self.children = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]

    def end(self):
        for child in self.children:
            child.kill()
            child.wait()


def severities(pgset):
    """What each code weighs at most, from pgset itself."""
    listed = subprocess.run([pgset, "explain", "-o", "json"], check=True, capture_output=True, text=True).stdout
    found = {}

    def walk(value):
        if isinstance(value, dict):
            if "code" in value and "severity" in value:
                found[value["code"]] = value["severity"]
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(json.loads(listed))
    return found


class Runs:
    def __init__(self, arguments):
        self.arguments = arguments
        self.weights = severities(arguments.pgset)
        self.alarms, self.failures, self.seconds = [], [], {}

    def command(self, namespace, *words):
        began = time.time()
        command = [self.arguments.pgset, *words, "-n", namespace]
        done = subprocess.run(command, capture_output=True, text=True)
        verb = words[0]
        self.seconds.setdefault(verb, []).append(time.time() - began)
        text = done.stderr + done.stdout
        if done.returncode != 0:
            self.failures.append(f"{' '.join(words)} ended with {done.returncode}:\n{text}")
        for line in text.splitlines():
            for code in FINDING.findall(line):
                if self.weights.get(code, "fatal") in ("fatal", "blocking"):
                    self.alarms.append(f"{' '.join(words)}: {line.strip()}")
        return done.returncode == 0

    def one(self):
        namespace = f"false-alarm-{secrets.token_hex(3)}"
        kubectl("create", "namespace", namespace)
        try:
            # Ten minutes are the default patience of a person on a machine like this; a slow start is no alarm.
            wait = ("--timeout", "10m")
            runs = [("up",), ("scale", "3"), ("restart", "--yes"), ("scale", "2")]
            if all(self.command(namespace, *words, *wait) for words in runs):
                self.command(namespace, "status")
        finally:
            subprocess.run([self.arguments.pgset, "down", "--yes", "--delete-data", "-n", namespace], capture_output=True)
            kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--load", type=int, default=2 * (os.cpu_count() or 2))
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--pgset", default=str(ROOT / "target/release/pgset"))
    arguments = parser.parse_args()
    if not os.environ.get("KUBECONFIG"):
        kubeconfig = subprocess.run([CLUSTER, "kubeconfig"], check=True, capture_output=True, text=True).stdout
        os.environ["KUBECONFIG"] = kubeconfig.strip()
    runs, until = Runs(arguments), time.time() + 60 * arguments.minutes
    load, done = Load(min(arguments.load, 64)), 0
    try:
        for _ in range(min(arguments.rounds, MOST_ROUNDS)):
            if time.time() > until:
                break
            runs.one()
            done += 1
            print(f"round {done}: {len(runs.alarms)} alarms, {len(runs.failures)} failures", flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        load.end()
    for verb, seconds in runs.seconds.items():
        median, worst = statistics.median(seconds), max(seconds)
        print(f"{verb:8} {len(seconds):4} times, median {median:.1f} s, at most {worst:.1f} s")
    for text in runs.alarms + runs.failures:
        print(text)
    total = sum(len(seconds) for verb, seconds in runs.seconds.items() if verb != "status")
    ended = f"{len(runs.alarms)} false alarms, {len(runs.failures)} failures"
    print(f"{total} runs in {done} rounds under {len(load.children)} busy loops: {ended}")
    return 1 if runs.alarms or runs.failures or done == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
