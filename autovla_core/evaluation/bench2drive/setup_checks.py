"""What a machine lacks for Bench2Drive: one finding a check, each with its remedy."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autovla_core.action.codebook import Codebook
from autovla_core.errors import AutoVLAError
from autovla_core.evaluation.bench2drive.agent_config import checkpoint_of, config_file, weights_hash
from autovla_core.evaluation.bench2drive.clone import RouteFile, choose, open_clone, open_routes, shard
from autovla_core.evaluation.bench2drive.orders import slots_of
from autovla_core.evaluation.bench2drive.setup_page import GOOD, LOOK, MISSING, Finding, Plan

MINICARLA_MARK = "MINICARLA"  # a file in a folder that tools/make_carla_root.py wrote
PACKAGES: Mapping[str, str] = {
    "py_trees": "py-trees==0.8.3",
    "dictor": "dictor",
    "requests": "requests",
    "cv2": "opencv-python-headless",
    "pygame": "pygame",
    "tabulate": "tabulate",
    "pexpect": "pexpect",
    "transforms3d": "transforms3d",
    "numpy": "numpy",
    "networkx": "networkx",
    "shapely": "shapely",
    "psutil": "psutil",
    "xmlschema": "xmlschema",
    "ephem": "ephem",
    "six": "six",
    "matplotlib": "matplotlib",
    "simple_watchdog_timer": "simple-watchdog-timer",
}  # what the evaluator imports besides carla, whose version is the server's, and how pip calls it
PROBE = """
import importlib.util, json, sys
try:
    import importlib.metadata as metadata
    version = metadata.version("carla")
except ImportError:  # not installed, or a Python before 3.8
    try:
        import pkg_resources
        version = pkg_resources.working_set.by_key["carla"].version
    except (ImportError, KeyError):
        version = ""
missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
print(json.dumps({"python": list(sys.version_info[:3]), "carla": version, "missing": missing}))
"""
THIN_AGENT = "autovla_thin_agent"
SERVER_MIB = 6000  # of GPU memory for one CARLA server, Town12
ALL_ROUTES = 220  # assumed where the routes cannot be read
DISK_PER_ROUTE = 4_000_000  # bytes: log, ticks of 200 s, result


def check(plan: Plan) -> list[Finding]:
    """Every check, in the order in which things are needed."""
    return [finding for name, look in CHECKS.items() for finding in look(name, plan)]


def _clone(name: str, plan: Plan) -> list[Finding]:
    try:
        clone = open_clone(plan.clone)
    except AutoVLAError as error:
        remedy = "git clone https://github.com/Thinklab-SJTU/Bench2Drive, then --clone <that folder>"
        return [Finding(name, MISSING, str(error), remedy)]
    return [Finding(name, GOOD, f"{clone.folder}, commit {clone.commit[:12] or 'unknown'}")]


def _routes(name: str, plan: Plan) -> list[Finding]:
    try:
        file, ids = _chosen(plan)
    except (AutoVLAError, OSError) as error:
        return [
            Finding(name, MISSING, str(error), "--routes 220, 0.0.4 or a file; --routes-subset ids of it; --shard i/n")
        ]
    return [Finding(name, GOOD, f"{file}, {len(ids)} to drive"), *_maps(plan, {r.town for r in file.routes})]


def _chosen(plan: Plan) -> tuple[RouteFile, list[str]]:
    """The route file, and the ids of it that this machine is to drive."""
    file = open_routes(plan.routes, open_clone(plan.clone))
    return file, shard(choose(file, plan.subset), plan.shard)


def _maps(plan: Plan, towns: set[str]) -> list[Finding]:
    folder = plan.carla_root / "CarlaUE4" / "Content" / "Carla" / "Maps"
    known = {file.stem for file in folder.rglob("*.xodr")} if folder.is_dir() else set()
    lacking = sorted(towns - known)
    if not lacking:
        return [Finding("maps", GOOD, ", ".join(sorted(towns)))]
    remedy = "Town06, 07 and 11 to 15 come with AdditionalMaps: put it into Import/ and run ImportAssets.sh"
    if (plan.carla_root / MINICARLA_MARK).is_file():
        remedy = "minicarla has towns of its own: a route file for them is made by tools/generate_routes.py"
    return [Finding("maps", MISSING, f"{plan.carla_root} lacks {', '.join(lacking)}", remedy)]


def _python(name: str, plan: Plan) -> list[Finding]:
    try:
        done = subprocess.run(
            [plan.python, "-c", PROBE, "carla", *PACKAGES, *_needed(plan)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        facts = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return [Finding(name, MISSING, f"{plan.python}: {error}", "--python <interpreter of the evaluator>")]
    version = ".".join(map(str, facts["python"]))
    good = [3, 7] <= facts["python"][:2] <= [3, 12]
    state, remedy = (GOOD, "") if good else (MISSING, "Python 3.10 serves both CARLA 0.9.15 and our model")
    return [
        Finding(name, state, f"{plan.python}, {version}", remedy),
        _packages(plan, [name for name in facts["missing"] if name != "carla"]),
        _wheel(plan, facts),
    ]


def _needed(plan: Plan) -> list[str]:
    """Our package, unless the thin agent drives, which needs none of it."""
    return [] if plan.agent.stem == THIN_AGENT else ["autovla_core"]


def _packages(plan: Plan, missing: Sequence[str]) -> Finding:
    if not missing:
        return Finding("packages", GOOD, f"{len(PACKAGES)} of the evaluator, besides carla")
    names = " ".join(PACKAGES.get(name, f"-e {plan.checkout}") for name in missing)
    return Finding("packages", MISSING, ", ".join(missing), f"{plan.python} -m pip install {names}")


def _wheel(plan: Plan, facts: Mapping) -> Finding:
    server = server_version(plan.carla_root)
    if not facts["carla"] and "carla" not in facts["missing"]:
        return Finding("carla wheel", LOOK, "there, but of unknown version", f"it must be the server's: {server}")
    if not facts["carla"]:
        wheel = f"carla=={server}" if server else "carla==0.9.15, or the wheel in PythonAPI/carla/dist"
        return Finding("carla wheel", MISSING, "not installed", f"{plan.python} -m pip install {wheel}")
    found = f"client {facts['carla']}, server {server or 'unknown'}"
    if server and server != facts["carla"]:
        return Finding("carla wheel", MISSING, found, f"{plan.python} -m pip install carla=={server}")
    if server == "0.9.16" and not (plan.carla_root / MINICARLA_MARK).is_file():
        remedy = "0.9.16 puts stop and yield volumes below the ground in Town12, 13 and 15; Bench2Drive means 0.9.15"
        return Finding("carla wheel", LOOK, found, remedy)
    return Finding("carla wheel", GOOD if server else LOOK, found, "" if server else "they must be the same version")


def _carla_root(name: str, plan: Plan) -> list[Finding]:
    script = plan.carla_root / "CarlaUE4.sh"
    if not script.is_file() or not script.stat().st_mode & 0o111:
        remedy = "unpack CARLA 0.9.15 and give --carla-root, or tools/make_carla_root.py for minicarla"
        return [Finding(name, MISSING, f"no executable {script}", remedy)]
    kind = "minicarla" if (plan.carla_root / MINICARLA_MARK).is_file() else "CARLA"
    found = [
        Finding(name, GOOD, f"{plan.carla_root} ({kind} {server_version(plan.carla_root) or 'of unknown version'})")
    ]
    agents = plan.carla_root / "PythonAPI" / "carla" / "agents"
    if not agents.is_dir():
        note = "the copy inside the clone is used and mended by the launcher"
        found.append(Finding("agents package", LOOK if kind == "CARLA" else GOOD, f"not in {kind}'s folder: {note}"))
    return found


def _python_path(name: str, plan: Plan) -> list[Finding]:
    bad = []
    for entry in filter(None, plan.python_path.split(":")):
        inside = plan.clone.resolve() in (Path(entry).resolve(), *Path(entry).resolve().parents)
        packages = [p for p in ("leaderboard", "srunner", "carla") if (Path(entry) / p / "__init__.py").is_file()]
        packages += ["carla"] if (Path(entry) / "carla.py").is_file() else []
        if packages and not inside:
            bad.append(f"{entry} ({', '.join(packages)})")
    if not bad:
        return [Finding(name, GOOD, "nothing on it stands before the clone")]
    return [Finding(name, MISSING, f"holds {'; '.join(bad)}", "unset PYTHONPATH: the launcher sets what is needed")]


def _ports(name: str, plan: Plan) -> list[Finding]:
    slots = slots_of(plan.workers, plan.gpus, plan.gpus, plan.base_port, plan.base_traffic_manager_port)
    findings = []
    for slot in slots:
        try:
            port, manager = slot.free_ports()
            findings.append(
                Finding(name, GOOD, f"simulator {slot.index}: {port} to {port + 2}, Traffic Manager {manager}")
            )
        except AutoVLAError as error:
            remedy = "end that program, or --base-port and --base-traffic-manager-port"
            findings.append(Finding(name, MISSING, f"simulator {slot.index}: {error}", remedy))
    return findings


def _gpu(name: str, plan: Plan) -> list[Finding]:
    if (plan.carla_root / MINICARLA_MARK).is_file():
        return [Finding(name, GOOD, "minicarla needs none")]
    query = ["nvidia-smi", "--query-gpu=index,memory.free", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
        free = {index.strip(): int(mib) for index, mib in (line.split(",") for line in text.splitlines() if line)}
    except (OSError, subprocess.SubprocessError, ValueError):
        return [Finding(name, MISSING, "nvidia-smi gives no answer", "CARLA needs a GPU and its driver, with Vulkan")]
    return [_gpu_memory(name, gpu, -(-plan.workers // len(plan.gpus)), free) for gpu in plan.gpus[: plan.workers]]


def _gpu_memory(name: str, gpu: str, simulators: int, free: Mapping[str, int]) -> Finding:
    if gpu not in free:
        return Finding(name, MISSING, f"no GPU {gpu}; there are {', '.join(free)}", "--gpus")
    need = simulators * SERVER_MIB
    found = f"GPU {gpu}: {free[gpu]} MiB free, {simulators} simulators want {need} and the model its own"
    if free[gpu] < need:
        return Finding(name, MISSING, found, "fewer --workers, or more --gpus")
    return Finding(name, GOOD, found)


def _agent(name: str, plan: Plan) -> list[Finding]:
    if not plan.agent.is_file():
        return [Finding(name, MISSING, f"no file {plan.agent}", "--agent agents/autovla_agent.py")]
    found = [Finding(name, GOOD, str(plan.agent))]
    if "+" in plan.agent_config:
        found.append(Finding("agent config", MISSING, plan.agent_config, "Bench2Drive cuts a path at '+': rename it"))
    elif plan.agent_config:
        found += _checkpoint(plan)
    return found


def _checkpoint(plan: Plan) -> list[Finding]:
    file = config_file(plan.agent_config, plan.checkout)
    if file is None:
        remedy = "--agent-config <YAML of the agent>, unless the agent takes a text that is no file"
        return [Finding("agent config", LOOK, f"{plan.agent_config} is no file", remedy)]
    try:
        folder = checkpoint_of(file, plan.checkout)
        if folder is None:
            return [Finding("agent config", GOOD, f"{file}, without a checkpoint")]
        record = json.loads((folder / "autovla.json").read_text(encoding="utf-8"))
        book = Codebook.load(folder / "codebook.npz").hash
    except (OSError, ValueError, AutoVLAError) as error:
        return [Finding("checkpoint", MISSING, str(error), "a folder that training.sft or training.rft has written")]
    if record.get("codebook_hash") != book:
        found = f"{folder}: codebook {book[:12]}, its record says {str(record.get('codebook_hash'))[:12]}"
        return [Finding("checkpoint", MISSING, found, "copy the folder again: its files are of two models")]
    return [Finding("checkpoint", GOOD, f"{folder.name}, weights {weights_hash(folder)[:12]}, codebook {book[:12]}")]


def _disk(name: str, plan: Plan) -> list[Finding]:
    place = plan.out.resolve()
    while not place.exists():
        place = place.parent
    try:
        routes = len(_chosen(plan)[1])
    except (AutoVLAError, OSError):  # said by its own check
        routes = ALL_ROUTES
    free, need = shutil.disk_usage(place).free, routes * DISK_PER_ROUTE
    found = f"{free / 1e9:.1f} GB free at {place}, {routes} routes want {need / 1e6:.0f} MB"
    return [Finding(name, GOOD, found) if free > need else Finding(name, MISSING, found, "another --out")]


def server_version(carla_root: Path) -> str:
    """What CARLA's folder says of itself, "" if it says nothing."""
    file = carla_root / "VERSION"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


CHECKS: Mapping[str, Callable[[str, Plan], list[Finding]]] = {
    "clone": _clone,
    "carla root": _carla_root,
    "routes": _routes,
    "python": _python,
    "PYTHONPATH": _python_path,
    "ports": _ports,
    "gpu memory": _gpu,
    "agent": _agent,
    "disk": _disk,
}
