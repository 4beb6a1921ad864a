#!/usr/bin/env python3
"""A day with a set, pgset beside kubectl: how soon psql answers, how much a port-forward carries.

  live.py [--rounds 20] [--seconds 3] [--turns 10] [--pgset FILE]

psql          `pgset psql -- -c 'select 1'`, with the psql of this machine and with the one in the member, against
              `kubectl exec … psql -c 'select 1'`: whole processes in turn, medians.
port-forward  pgbench -S with 1 and with 8 connections through `pgset port-forward` and `kubectl port-forward`, in turn,
              medians of transactions a second.
completion    a Tab after `pgset status -n`, `--name` and `pgset restart --member`: whole processes, median and longest.
              They ask the cluster; the goal is 200 ms.

Prints the ratios. Nothing is asserted: a figure is a measurement of one machine at one time. Needs a release build of
pgset, kubectl, psql and pgbench, and a cluster: the one of KUBECONFIG, else the project's own test cluster.
"""

import argparse
import os
import pathlib
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests/cluster/cluster.sh"


def cluster(*words):
    return subprocess.run([CLUSTER, *words], check=True, capture_output=True, text=True).stdout.strip()


def quiet(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def seconds(words, expected):
    """How long a whole process takes; its answer is checked, so that no failure counts as fast."""
    began = time.perf_counter()
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode != 0 or done.stdout.strip() != expected:
        raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return took


def psql(pgset, kubectl, name, rounds):
    query = ["-XAtc", "select 1"]
    inside = ["exec", "pgset-0", "-c", "pgset", "--", "psql", "-h", "/pgset/run", "-U", "testuser", "-d", "userdb"]
    commands = {
        "pgset psql": [pgset, "psql", "-n", name, "--", *query],
        "pgset psql --exec": [pgset, "psql", "-n", name, "--exec", "--", *query],
        "kubectl exec psql": [kubectl, "-n", name, *inside, *query],
    }
    times = {label: [] for label in commands}
    for _ in range(rounds):
        for label, words in commands.items():
            times[label].append(seconds(words, "1"))
    return {label: statistics.median(found) for label, found in times.items()}


def completions(pgset, name, rounds):
    """What bash runs at a Tab, with the name that has to be among the answers."""
    lines = {
        "namespaces": (["pgset", "status", "-n", ""], name),
        "sets": (["pgset", "status", "-n", name, "--name", ""], "pgset"),
        "members": (["pgset", "restart", "-n", name, "--member", ""], "pgset-1"),
    }
    times = {label: [] for label in lines}
    for _ in range(rounds):
        for label, (words, expected) in lines.items():
            environment = {**os.environ, "PGSET_COMPLETE": "bash", "_CLAP_COMPLETE_INDEX": str(len(words) - 1)}
            began = time.perf_counter()
            done = subprocess.run([pgset, "--", *words], env=environment, capture_output=True, text=True)
            times[label].append(time.perf_counter() - began)
            if expected not in re.split(r"[\n\v]", done.stdout):
                raise SystemExit(f"{words} is completed by {done.stdout!r}")
    return times


class Forward:
    """A port-forward that runs, and the port it listens on."""

    def __init__(self, words, pattern):
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        found = re.search(pattern, line)
        if not found:
            raise SystemExit(f"{words} said {line!r}")
        self.port = found[1]

    def end(self):
        self.process.terminate()
        self.process.wait()

    def transactions(self, password, connections, duration):
        words = ["pgbench", "-h", "127.0.0.1", "-p", self.port, "-U", "testuser", "-n", "-S"]
        words += ["-c", str(connections), "-j", str(min(connections, 2)), "-T", str(duration), "userdb"]
        environment = {**os.environ, "PGPASSWORD": password}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        if done.returncode != 0 or not found:
            raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return float(found[1])


def forwards(pgset, kubectl, name, turns, duration):
    template = "-o=go-template={{.data.user|base64decode}}"
    password = quiet(kubectl, "-n", name, "get", "secret", "pgset-passwords", template)
    tools = {
        "pgset": Forward([pgset, "port-forward", "-n", name, "0"], r"127\.0\.0\.1:(\d+)/"),
        "kubectl": Forward([kubectl, "-n", name, "port-forward", "service/pgset-master", ":5432"], r"127\.0\.0\.1:(\d+) "),
    }
    try:
        environment = {**os.environ, "PGPASSWORD": password}
        make = ["pgbench", "-h", "127.0.0.1", "-p", tools["pgset"].port, "-U", "testuser", "-i", "-q", "-s", "5", "userdb"]
        subprocess.run(make, env=environment, check=True, capture_output=True)
        rates = {}
        for connections in (1, 8):
            for tool in tools:
                rates[tool, connections] = []
            for turn in range(turns):
                # Who goes first has the colder caches.
                for tool in list(tools)[:: 1 if turn % 2 == 0 else -1]:
                    rates[tool, connections].append(tools[tool].transactions(password, connections, duration))
        return {key: statistics.median(found) for key, found in rates.items()}
    finally:
        for forward in tools.values():
            forward.end()


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--seconds", type=int, default=3)
    options.add_argument("--turns", type=int, default=10)
    options.add_argument("--pgset", type=pathlib.Path, help="the binary to measure [default: the release build]")
    chosen = options.parse_args()

    if not os.environ.get("KUBECONFIG"):
        cluster("up")
        os.environ["KUBECONFIG"] = cluster("kubeconfig")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    pgset = chosen.pgset or target / "release/pgset"
    if not pgset.exists():
        sys.exit(f"there is no {pgset}: cargo build --release")
    for program in ("kubectl", "psql", "pgbench"):
        if not shutil.which(program):
            sys.exit(f"there is no {program} here")
    pgset, kubectl = str(pgset), shutil.which("kubectl")

    name = f"bench-{secrets.token_hex(3)}"
    quiet(kubectl, "create", "namespace", name)
    try:
        quiet(pgset, "up", "-n", name)
        times = psql(pgset, kubectl, name, chosen.rounds)
        completed = completions(pgset, name, chosen.rounds)
        rates = forwards(pgset, kubectl, name, chosen.turns, chosen.seconds)
    finally:
        quiet(kubectl, "delete", "namespace", name, "--wait=false")
    for label, took in times.items():
        print(f"{label:18} {took * 1000:6.0f} ms  {took / times['kubectl exec psql']:.2f} of kubectl exec (median of {chosen.rounds})")
    for (tool, connections), rate in rates.items():
        ratio = rate / rates["kubectl", connections]
        print(f"{tool:8} pgbench -S -c {connections}: {rate:7.0f} a second, {ratio:.2f} of kubectl port-forward (median of {chosen.turns})")
    for label, took in completed.items():
        middle, longest = statistics.median(took) * 1000, max(took) * 1000
        print(f"completion of {label:10} {middle:4.0f} ms, the longest {longest:4.0f} ms (of {chosen.rounds})")


if __name__ == "__main__":
    main()
