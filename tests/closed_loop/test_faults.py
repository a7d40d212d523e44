"""Whatever is killed, hangs or is cut: in the end every drive has one record, equal to that of an undisturbed run.

Simulators, workers, signals and files are real. Equal means: all but seconds of the wall clock and the numbers that a
simulator gives its actors, which grow with what was driven before. The table is docs/faults.md.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autovla_core.carla_bridge import session
from autovla_core.evaluation.episode import EpisodeConfig
from autovla_core.evaluation.evaluator import Run, evaluate, jobs_of
from autovla_core.evaluation.parts import Parts
from autovla_core.evaluation.results import ResultsFile
from autovla_core.evaluation.route_file import Route, write_routes
from autovla_core.evaluation.server_process import free_port

pytestmark = pytest.mark.xdist_group("faults")

ROOT = Path(__file__).resolve().parents[2]
AGENT = Path(__file__).with_name("saboteur_agent.py")
TOOL = ROOT / "tools/evaluate_routes.py"
END = (361.75, -336.0, 5.93)
ROUTES = [Route(id, "Havenbrook", ((361.75, y, 4.296), END)) for id, y in (("a", -296.0), ("b", -300.0), ("c", -304.0))]
EPISODE = EpisodeConfig(traffic=3)
STAMP = {"agent": "saboteur"}
PLANNER_SERVER = """
import sys
sys.path.insert(0, "agents")
from autovla_baseline_agent import RouteFollower
from autovla_core.serving.server import PlannerServer, ServerConfig
with PlannerServer(RouteFollower(6.0), ServerConfig(port=int(sys.argv[1]))) as server:
    print(server.address, flush=True)
    sys.stdin.read()
"""


class Evaluation:
    """One results file, and what the agent is told to do."""

    def __init__(self, folder: Path, fault: str = "", server: str = "") -> None:
        self.folder, self.flag = folder, folder / "flag"
        folder.mkdir(exist_ok=True)
        self.orders = folder / "orders.json"
        self.orders.write_text(json.dumps({"fault": fault, "flag": str(self.flag), "server": server}))
        self.driven: list[str] = []

    def results(self) -> ResultsFile:
        names = [job.route_id for job in jobs_of(ROUTES, [0])]
        return ResultsFile(self.folder / "r.json", names, STAMP, parts=Parts(self.folder / "r.parts", STAMP))

    def drive(self, workers: int = 1, patience_s: float = 600.0) -> list[dict]:
        """Drive what lacks; the records."""
        results = self.results()
        run = Run(AGENT, str(self.orders), replace(EPISODE, agent_timeout_s=patience_s), server_threads=1)
        evaluate(run, jobs_of(ROUTES, [0]), results, workers, lambda record: self.driven.append(record.route))
        results.write()
        return comparable(self.folder / "r.json")


def comparable(file: Path) -> list[dict]:
    """The records of a results file without what the wall clock and the simulator's counting make of them."""
    records = json.loads(file.read_text())["_checkpoint"]["records"]
    for record in records:
        assert record["meta"].pop("duration_system") > 0.0
        record["made_with"].pop("code")  # of the source, which may be edited while the tests run
        for times in ("latency_s_mean", "latency_s_most"):
            assert record["planner"][times] == 0.0
    return json.loads(re.sub(r"id=\d+", "id=*", json.dumps(records)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    records = Evaluation(tmp_path_factory.mktemp("calm")).drive()
    assert [record["route_id"] for record in records] == [f"RouteScenario_{id}_rep0" for id in "abc"]
    assert all(record["scores"]["score_route"] == 100.0 for record in records)
    return records


def test_a_simulator_that_is_killed_spoils_nothing(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(session, "TICK_TIMEOUT_S", 8.0)  # of 20, so that the test is short
    monkeypatch.setattr(session, "GONE_TIMEOUT_S", 0.2)
    hurt = Evaluation(tmp_path, "simulator")
    assert hurt.drive() == undisturbed
    assert hurt.flag.exists() and hurt.driven == ["a", "b", "c"]


def test_a_worker_that_is_killed_spoils_nothing(tmp_path, undisturbed):
    hurt = Evaluation(tmp_path, "worker")
    assert hurt.drive(workers=2) == undisturbed
    assert hurt.flag.exists() and sorted(hurt.driven) == ["a", "b", "c"]


def test_a_planner_that_hangs_once_spoils_nothing(tmp_path, undisturbed):
    hurt = Evaluation(tmp_path, "hang")
    assert hurt.drive(patience_s=8.0) == undisturbed
    assert hurt.flag.exists() and hurt.driven == ["a", "b", "c"]


def serve(port: int = 0) -> subprocess.Popen:
    """A planner in a process of its own; it ends when its standard input does."""
    command = [sys.executable, "-c", PLANNER_SERVER, str(port)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_planner_server_that_is_killed_and_started_again_spoils_nothing(tmp_path, undisturbed):
    servers = [serve()]
    address = servers[0].stdout.readline().strip()
    hurt = Evaluation(tmp_path, "planner", address)
    Path(f"{hurt.flag}.pid").write_text(str(servers[0].pid))

    def start_again() -> None:
        servers[0].wait()
        servers.append(serve(int(address.rsplit(":", 1)[1])))

    nurse = threading.Thread(target=start_again)
    nurse.start()
    try:
        assert hurt.drive() == undisturbed
    finally:
        servers[0].kill()
        nurse.join()
        for server in servers:
            server.communicate()
    assert hurt.flag.exists() and servers[0].returncode == -signal.SIGKILL


def test_a_disk_that_is_full_for_a_while_costs_a_second_call(tmp_path, undisturbed, monkeypatch):
    hurt, plain, refused = Evaluation(tmp_path), os.fsync, []

    def full(handle: int) -> None:
        if not refused and "RouteScenario_b_rep0" in os.readlink(f"/proc/self/fd/{handle}"):
            refused.append(handle)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        hurt.drive()
    assert len(comparable(tmp_path / "r.json")) == 1
    assert hurt.drive() == undisturbed
    assert hurt.driven == ["a", "b", "b", "c"]


def test_what_a_power_cut_left_half_written_is_made_good(tmp_path, undisturbed):
    hurt = Evaluation(tmp_path)
    hurt.drive()
    for cut in (tmp_path / "r.json", tmp_path / "r.parts/RouteScenario_b_rep0.json"):
        cut.write_bytes(cut.read_bytes()[:150])
    (tmp_path / "r.parts/.RouteScenario_c_rep0.json.partial").write_text("{")
    assert hurt.drive() == undisturbed
    assert hurt.driven == ["a", "b", "c", "b"]


def call(hurt: Evaluation, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """The tool; its output ends when the last of its workers has."""
    write_routes(hurt.folder / "routes.xml", ROUTES)
    command = [sys.executable, TOOL, "--routes", hurt.folder / "routes.xml", "--agent", AGENT, "--traffic", 3]
    command += ["--agent-config", hurt.orders, "--out", hurt.folder / "r.json", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, env=environment)


def test_an_evaluator_that_is_killed_goes_on_where_it_was(tmp_path, undisturbed):
    hurt = Evaluation(tmp_path, "parent")
    first = call(hurt, "--workers", 2)
    assert first.returncode == -signal.SIGKILL and hurt.flag.exists()
    second = call(hurt, "--workers", 2)
    assert second.returncode == 0, second.stderr
    assert comparable(tmp_path / "r.json") == undisturbed


def test_shards_of_several_calls_are_put_together(tmp_path, undisturbed):
    calm = Evaluation(tmp_path)
    for shard in ("2/2", "1/2"):
        done = call(calm, "--shard", shard)
        assert done.returncode == 0 and not (tmp_path / "r.json").exists(), done.stderr
    merged = call(calm, "--merge")
    assert merged.returncode == 0 and "3 drives of 3 routes" in merged.stdout, merged.stderr
    assert comparable(tmp_path / "r.json") == undisturbed


class RayCluster:
    """Two machines of one CPU each, both this one; the second one may be lost."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.2:{free_port(1)}"  # not .1, which ray takes for the machine's address in the network
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._log = (folder / "ray.log").open("w+")
        host, port = self.address.split(":")
        head = ["--head", f"--node-ip-address={host}", f"--port={port}", f"--temp-dir={folder}"]
        self._started = [self._start(*head, "--include-dashboard=false", "--disable-usage-stats")]

    def add_machine(self) -> None:
        """The spare one, which its workers can tell by their environment."""
        self._started.append(self._start(f"--address={self.address}", "--node-ip-address=127.0.0.3", SPARE_MACHINE="1"))

    def close(self) -> None:
        for machine in reversed(self._started):
            machine.terminate()
            machine.wait()
        self._log.close()

    def _start(self, *arguments: str, **more: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--block", *arguments]
        environment = {**os.environ, **self.environment, **more}
        at = self._log.tell()
        machine = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, env=environment)
        while "Ray runtime started" not in self._said(at):
            assert machine.poll() is None, self._said(at)
            time.sleep(0.2)
        return machine

    def _said(self, since: int) -> str:
        return Path(self._log.name).read_text()[since:]


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # its sockets need a short path
        cluster = RayCluster(Path(folder))
        yield cluster
        cluster.close()


@pytest.mark.timeout(900)
def test_drives_over_ray_are_the_drives_without_it(tmp_path, undisturbed, cluster):
    done = call(Evaluation(tmp_path), "--ray", cluster.address, **cluster.environment)
    assert done.returncode == 0, done.stderr
    assert comparable(tmp_path / "r.json") == undisturbed
    before = (tmp_path / "r.json").read_bytes()
    again = call(Evaluation(tmp_path), "--ray", "nobody:1", **cluster.environment)  # nothing is left to be driven
    assert again.returncode == 0 and (tmp_path / "r.json").read_bytes() == before


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", ["worker", "parent", "machine"])
def test_a_worker_an_actor_or_a_machine_of_ray_that_is_lost_spoils_nothing(tmp_path, undisturbed, cluster, fault):
    if fault == "machine":
        cluster.add_machine()
    hurt = Evaluation(tmp_path, fault)
    done = call(hurt, "--ray", cluster.address, "--workers", 2, **cluster.environment)
    assert done.returncode == 0, done.stderr
    assert hurt.flag.exists() and comparable(tmp_path / "r.json") == undisturbed


RANK = """
import os, signal, sys
from pathlib import Path
folder, rank = Path(sys.argv[1]), os.environ["RANK"]
if rank == "1" and not (folder / "hurt").exists():
    (folder / "hurt").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if not (folder / "hurt").exists():
    signal.pause()  # as one that waits for the others
names = ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
(folder / f"rank{rank}").write_text(" ".join(os.environ[name] for name in names))
"""
GANG = """
import sys, threading
from autovla_core.evaluation.gang import run_gang
from autovla_core.evaluation.queue import Cluster
cluster = Cluster(sys.argv[1], cpus=0.5)
print("code", run_gang([sys.executable, *sys.argv[2:]], 2, cluster, threading.Event()))
"""


@pytest.mark.timeout(900)
def test_ranks_of_training_begin_again_together_when_one_is_lost(tmp_path, cluster):
    (tmp_path / "rank.py").write_text(RANK)
    command = [sys.executable, "-c", GANG, cluster.address, str(tmp_path / "rank.py"), str(tmp_path)]
    environment = {**os.environ, **cluster.environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0 and "code 0" in done.stdout, done.stderr
    assert "a process was killed by signal 9; all begin again" in done.stderr
    assert {(tmp_path / f"rank{k}").read_text() for k in range(2)} == {"2 0 127.0.0.2"}


@pytest.mark.timeout(900)
def test_a_cluster_without_room_and_a_wrong_token_are_one_sentence_each(tmp_path, cluster):
    done = call(Evaluation(tmp_path), "--ray", cluster.address, "--ray-cpus", 64, **cluster.environment)
    assert done.returncode == 1 and re.search(
        r"the ray cluster has \d CPU, but 1 of our processes take 64 CPU", done.stderr
    )
    stranger = {**cluster.environment, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    done = call(Evaluation(tmp_path), "--ray", cluster.address, **stranger)
    assert done.returncode == 1 and f"no ray cluster at '{cluster.address}'" in done.stderr.splitlines()[-1]
