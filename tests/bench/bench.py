#!/usr/bin/env python3
"""pgset beside kubectl and helm: the same manifests, in turn, on the same cluster, as whole processes.

  bench.py [--rounds 5] [--status-rounds 20] [--json FILE] [--host-path DIR]

For each tool and round a fresh namespace; the peers get what `pgset render` writes. Measured from outside:

  streaming    from the command's start to the moment the replica's WAL sender started (PostgreSQL's own clock)
  after        from that moment to the command's end
  healthy-exit from the last change that health depends on (the API server's audit log) to pgset's end
  requests     non-watch requests of the tool in the audit log
  cpu, memory  of the tool's process (user + system seconds; peak resident)

With --host-path the sets have static volumes below that directory of this machine: without a provisioner, which takes whole
seconds, differences are plainer to see.

Prints medians and the ratios to pgset. Nothing is asserted: a figure is a measurement of one machine at one time. Needs a
release build of pgset, kubectl, and the project's own test cluster (for its audit log); helm is used when there is one.
"""

import argparse
import base64
import datetime
import json
import os
import pathlib
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests/cluster/cluster.sh"
TIME = "/usr/bin/time"


def cluster(*words):
    return subprocess.run([CLUSTER, *words], check=True, capture_output=True, text=True).stdout.strip()


def quiet(*words, stdin=None):
    return subprocess.run(words, check=True, capture_output=True, text=True, input=stdin).stdout


class Timed:
    """One whole process, measured by time(1): wall time, CPU time, peak memory, and when it began and ended.

    Not by this program itself: a child's peak memory would begin with that of the Python it was forked from.
    """

    def __init__(self, words):
        with tempfile.NamedTemporaryFile("r") as report:
            measured = [TIME, "--format", "%U %S %M", "--output", report.name, "--", *words]
            self.began = time.time()
            done = subprocess.run(measured, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.ended = time.time()
            if done.returncode != 0:
                raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout}")
            user, system, memory = report.read().split()
        self.wall = self.ended - self.began
        self.cpu = float(user) + float(system)
        self.memory = int(memory) / 1024


class Bench:
    def __init__(self, pgset, kubectl, helm, host_path):
        self.pgset, self.kubectl, self.helm, self.host_path = pgset, kubectl, helm, host_path
        self.audit = pathlib.Path(cluster("audit-log"))

    def namespace(self):
        name = f"bench-{secrets.token_hex(3)}"
        quiet(self.kubectl, "create", "namespace", name)
        return name

    def drop(self, name):
        """Until nothing of it is left to disturb the next run: its volumes go after the namespace."""
        quiet(self.kubectl, "delete", "namespace", name, "--wait=true")
        claims = "jsonpath={.items[*].spec.claimRef.namespace}"
        if self.host_path:
            listed = json.loads(quiet(self.kubectl, "get", "persistentvolumes", "-o", "json"))["items"]
            ours = [one["metadata"]["name"] for one in listed if one["spec"].get("claimRef", {}).get("namespace") == name]
            quiet(self.kubectl, "delete", "persistentvolumes", *ours)
            shutil.rmtree(self.host_path / name)
        for _ in range(300):
            if name not in quiet(self.kubectl, "get", "persistentvolumes", "-o", claims).split():
                return
            time.sleep(0.2)
        raise SystemExit(f"volumes of namespace {name} stay")

    def storage(self, name):
        """The options that say where a set's data lies."""
        if not self.host_path:
            return []
        folder = self.host_path / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        return ["--storage", "hostpath", "--host-path", str(folder)]

    def manifests(self, name, folder):
        """What the peers apply: the rendered set and the Secret its header tells of."""
        rendered = quiet(self.pgset, "render", "-n", name, *self.storage(name))
        words = {key: secrets.token_hex(12) for key in ("superuser", "replication", "user")}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "pgset-passwords", "namespace": name},
            "stringData": words,
        }
        path = pathlib.Path(folder) / "set.yaml"
        path.write_text(rendered + "---\n" + json.dumps(secret) + "\n")
        return path

    def run(self, tool, name, folder):
        if tool == "pgset":
            return [Timed([self.pgset, "up", "-n", name, *self.storage(name)])]
        manifests = self.manifests(name, folder)
        if tool == "kubectl":
            apply = Timed([self.kubectl, "apply", "-f", str(manifests)])
            status = Timed([self.kubectl, "-n", name, "rollout", "status", "statefulset/pgset", "--timeout=5m"])
            return [apply, status]
        chart = pathlib.Path(folder) / "chart"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: pgset\nversion: 0.1.0\n")
        # The scripts are not helm's templates: braces in them must come out as they are.
        text = manifests.read_text().replace("{{", '{{"{{"}}')
        (chart / "templates/set.yaml").write_text(text)
        return [Timed([self.helm, "install", "pgset", str(chart), "-n", name, "--wait", "--timeout", "5m"])]

    def streaming_since(self, name):
        """When the replica's WAL sender started, in seconds since the epoch."""
        password = quiet(self.kubectl, "-n", name, "get", "secret", "pgset-passwords", "-o", "jsonpath={.data.superuser}")
        sql = "select extract(epoch from min(backend_start)) from pg_stat_replication where state = 'streaming'"
        psql = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-XAtc", sql]
        environment = f"PGPASSWORD={base64.b64decode(password).decode()}"
        words = [self.kubectl, "-n", name, "exec", "pgset-0", "-c", "pgset", "--", "env", environment, *psql]
        for _ in range(100):
            answer = quiet(*words).strip()
            if answer:
                return float(answer)
            time.sleep(0.2)
        raise SystemExit("the replica never streamed")

    def requests(self, tool, name, runs):
        """The tool's non-watch requests, and the last change that health depends on."""
        time.sleep(0.5)  # The audit log is written a moment later.
        agent = {"pgset": "pgset/", "kubectl": "kubectl/", "helm": "Helm/"}[tool]
        began, ended = runs[0].began, runs[-1].ended
        count, last = 0, None
        with self.audit.open() as lines:
            lines.seek(max(0, self.audit.stat().st_size - 32_000_000))
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # The first line may be cut.
                at = datetime.datetime.fromisoformat(entry["stageTimestamp"].replace("Z", "+00:00")).timestamp()
                if not began <= at <= ended or entry["stage"] == "ResponseStarted":
                    continue
                where = entry.get("objectRef", {})
                if entry.get("userAgent", "").startswith(agent) and entry["verb"] != "watch":
                    # Others may use the same client beside the bench; a namespace of the bench's own tells them apart.
                    if where.get("namespace", name) == name:
                        count += 1
                kind, part = where.get("resource"), where.get("subresource")
                changed = kind == "endpointslices" or (kind == "pods" and part == "status")
                if where.get("namespace") == name and changed and entry["verb"] in ("create", "update", "patch"):
                    last = at
        return count, last

    def round(self, tool):
        name = self.namespace()
        try:
            with tempfile.TemporaryDirectory() as folder:
                runs = self.run(tool, name, folder)
            since = self.streaming_since(name)
            count, last = self.requests(tool, name, runs)
            figures = {
                "streaming": since - runs[0].began,
                "after": runs[-1].ended - since,
                "total": runs[-1].ended - runs[0].began,
                "requests": count,
                "cpu": sum(run.cpu for run in runs),
                "memory": max(run.memory for run in runs),
            }
            if tool == "pgset" and last:
                figures["healthy-exit"] = runs[-1].ended - last
            return figures
        finally:
            self.drop(name)

    def status(self, rounds):
        """`pgset status` beside `kubectl get`, in turn."""
        name = self.namespace()
        try:
            Timed([self.pgset, "up", "-n", name, *self.storage(name)])
            commands = {
                "pgset status": [self.pgset, "status", "-n", name],
                "kubectl get sts,pods": [self.kubectl, "get", "sts,pods", "-n", name],
            }
            walls = {label: [] for label in commands}
            for _ in range(rounds):
                for label, words in commands.items():
                    walls[label].append(Timed(words).wall)
            return {label: statistics.median(times) for label, times in walls.items()}
        finally:
            self.drop(name)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--status-rounds", type=int, default=20)
    options.add_argument("--host-path", type=pathlib.Path, help="static volumes below this directory")
    options.add_argument("--json", type=pathlib.Path, help="write every figure there")
    chosen = options.parse_args()

    cluster("up")
    os.environ["KUBECONFIG"] = cluster("kubeconfig")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    pgset = target / "release/pgset"
    if not pgset.exists():
        sys.exit(f"there is no {pgset}: cargo build --release")
    kubectl = shutil.which("kubectl")
    if not kubectl:
        sys.exit("there is no kubectl to compare with")
    if not os.access(TIME, os.X_OK):
        sys.exit(f"there is no {TIME}: apt-get install time")
    helm = shutil.which("helm")
    bench = Bench(str(pgset), kubectl, helm, chosen.host_path)
    tools = ["pgset", "kubectl"] + (["helm"] if helm else [])

    figures = {tool: [] for tool in tools}
    for number in range(chosen.rounds):
        # Each tool comes first, second and last in turn.
        for tool in tools[number % len(tools):] + tools[: number % len(tools)]:
            figures[tool].append(bench.round(tool))
            print(f"round {number + 1} {tool}: " + ", ".join(f"{k} {v:.2f}" for k, v in figures[tool][-1].items()), flush=True)
    status = bench.status(chosen.status_rounds)

    medians = {
        tool: {key: statistics.median(row[key] for row in rows if key in row) for key in rows[0]}
        for tool, rows in figures.items()
    }
    print(f"\nmedians of {chosen.rounds}:")
    columns = ["streaming", "after", "total", "requests", "cpu", "memory"]
    print("tool     " + "".join(f"{column:>12}" for column in columns))
    for tool in tools:
        print(f"{tool:9}" + "".join(f"{medians[tool][column]:12.2f}" for column in columns))
    for peer in tools[1:]:
        ratios = (f"{medians[peer][column] / medians['pgset'][column]:12.2f}" for column in columns)
        print(f"{peer + ' ÷':9}" + "".join(ratios) + "  (times pgset's)")
    print(f"pgset, healthy to exit: {medians['pgset'].get('healthy-exit', float('nan')) * 1000:.0f} ms")
    shown, peer = status["pgset status"], status["kubectl get sts,pods"]
    print(f"pgset status takes {shown / peer:.2f} of kubectl get sts,pods (median of {chosen.status_rounds})")
    if chosen.json:
        chosen.json.write_text(json.dumps({"rounds": figures, "medians": medians, "status": status}, indent=2))


if __name__ == "__main__":
    main()
