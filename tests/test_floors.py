"""The import tables of docs/architecture.md, kept true by reading the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    0: {"errors", "geometry", "footprints", "frames", "contracts", "config", "files", "restricted_pickle"},
    1: {"action", "prompt", "control", "route", "sensing", "expert", "logs", "scoring"},
    2: {"model", "serving"},
    3: {"driving"},
    4: {"carla_bridge", "view"},
    5: {"evaluation"},
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
SAME_FLOOR = {
    ("expert", "control"),
    ("expert", "route"),
    ("scoring", "logs"),
    ("scoring", "prompt"),
}  # sideways imports that are meant
THIRD_PARTY = {
    "carla": {
        "autovla_core/carla_bridge",
        "autovla_core/evaluation",
        "autovla_core/minicarla/world/town.py",
        "autovla_core/minicarla/world/navigation.py",
        "tools",
        "agents",
    },
    "leaderboard": {"agents/autovla_leaderboard.py"},
    "srunner": {"agents/autovla_leaderboard.py"},
    "torch": {"autovla_core/model", "training"},
    "transformers": {"autovla_core/model", "training"},
    "tokenizers": {"autovla_core/model", "training"},
    "safetensors": {"autovla_core/model", "training"},
    "peft": {"autovla_core/model", "training"},
    "accelerate": {"autovla_core/model", "training"},
    "pygame": {"autovla_core/view"},
    "numba": {
        "autovla_core/minicarla/sensors",
        "autovla_core/minicarla/world",
        "autovla_core/model/kernels",
        "autovla_core/scoring/pdm",
    },
    "av": {
        "autovla_core/view",
        "autovla_core/logs",
        "autovla_core/model",
        "autovla_core/evaluation/report/film.py",
    },
    "PIL": {"autovla_core/view", "autovla_core/logs", "autovla_core/model", "training/datasets"},
    "google_crc32c": {"training/datasets/tfrecord.py"},
    "ray": {"autovla_core/evaluation/queue.py"},
}
PROGRAMS = ("agents", "tools", "training")
FORBIDDEN_MODULES = {"pickle", "dill", "shelve", "marshal"}
PICKLE_READER = "autovla_core/restricted_pickle.py"  # reads strangers' pickles by a table of names
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}

SOURCES = sorted(p for top in ("autovla_core", "agents", "tools", "training") for p in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> list[tuple[str, int]]:
    """Every absolute dotted name that a file imports, with its line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(a.name, node.lineno) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} relative import"
            found += [(f"{node.module}.{a.name}", node.lineno) for a in node.names]
    return found


def room(path: Path) -> str:
    """The first folder or module name below autovla_core."""
    return path.relative_to(ROOT / "autovla_core").parts[0].removesuffix(".py")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_file_imports_only_downwards(path: Path) -> None:
    wrong = []
    for name, line in imports(path):
        parts = name.split(".")
        top = relative(path).split("/")[0]
        if parts[0] in PROGRAMS and (top == "autovla_core" or parts[0] != top):
            wrong.append(f"line {line}: {name}: a program is imported by nobody")
        if parts[0] != "autovla_core" or len(parts) < 2:
            continue
        if "minicarla" in parts and not (top == "autovla_core" and room(path) == "minicarla"):
            wrong.append(f"line {line}: {name}: nobody imports minicarla")
        if top == "autovla_core":
            wrong += _upward(path, parts[1], line)
    assert not wrong, f"{relative(path)}: {wrong}"


def _upward(path: Path, target: str, line: int) -> list[str]:
    own = room(path)
    if target == own or own == "__init__":
        return []
    if own == "minicarla":
        return (
            []
            if FLOOR_OF.get(target) == 0
            else [f"line {line}: minicarla imports {target}; only floor 0 is open to it"]
        )
    if target == "minicarla" or (own, target) in SAME_FLOOR:
        return []
    if FLOOR_OF[own] == 0 and FLOOR_OF[target] == 0:
        return []
    if FLOOR_OF[target] < FLOOR_OF[own]:
        return []
    return [f"line {line}: {own} (floor {FLOOR_OF[own]}) imports {target} (floor {FLOOR_OF[target]})"]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_third_party_package_stays_in_its_rooms(path: Path) -> None:
    where = relative(path)
    wrong = [
        f"line {line}: {name}"
        for name, line in imports(path)
        if (package := name.split(".")[0]) in THIRD_PARTY
        and not any(where == place or where.startswith(place + "/") for place in THIRD_PARTY[package])
    ]
    assert not wrong, f"{where}: {wrong}; allowed places: {THIRD_PARTY}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_pickle_no_eval_no_star(path: Path) -> None:
    wrong = [
        f"line {line}: {name}"
        for name, line in imports(path)
        if name.split(".")[0] in FORBIDDEN_MODULES and not (relative(path) == PICKLE_READER and name == "pickle")
    ]
    wrong += [f"line {line}: {name}" for name, line in imports(path) if name.endswith(".*")]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            wrong.append(f"line {node.lineno}: {node.func.id}()")
    assert not wrong, f"{relative(path)}: {wrong}"


def test_every_room_is_on_a_floor() -> None:
    rooms = {p.stem for p in (ROOT / "autovla_core").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__", "minicarla"} <= set(FLOOR_OF)


def test_only_one_import_name_is_installed() -> None:
    text = (ROOT / "setup.cfg").read_text()
    assert "include = autovla_core*" in text
    assert "package_dir" not in text
    assert not (ROOT / "agents" / "__init__.py").exists()
    assert not (ROOT / "tools" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_agent_files_have_our_prefix() -> None:
    names = [p.name for p in (ROOT / "agents").glob("*.py")]
    assert names and all(n.startswith("autovla_") for n in names)
