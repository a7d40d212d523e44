"""Runs Bench2Drive's own evaluator, or one of its tools, from an untouched clone under Python 3.7 to 3.12.

    python launcher.py --clone ~/Bench2Drive evaluate --port 20000 --routes ... --agent ...
    python launcher.py --clone ~/Bench2Drive tool tools/ability_benchmark.py -r merged.json -f routes.xml
    python launcher.py --clone ~/Bench2Drive junctions routes.xml marks.json

What is given to the evaluator is supplied only where this Python or this machine lacks it:
  Element.getchildren   gone since 3.9         distutils      gone since 3.12
  pkg_resources         gone from setuptools   agents         when CARLA's PythonAPI/carla is not on the path
The fixed wait of 30 s for the server ends as soon as its port answers. With ``--metrics FILE`` every tick appends one
line of what Bench2Drive's smoothness tool reads, for agents that do not record it themselves. With ``--scenario FILE``
one line tells each change of the route's scenario: that it was built, was triggered, ended.

Standard library only and no import of autovla_core: it also runs inside an old evaluator's environment.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.machinery
import importlib.util
import json
import os
import re
import runpy
import socket
import sys
import time
import types
import xml.etree.ElementTree as ElementTree

EVALUATOR = "leaderboard/leaderboard/leaderboard_evaluator.py"
AGENTS_IN_CLONE = "scenario_runner/srunner/tests/carla_mocks/agents"
BASE_CLASS_MODULE = "leaderboard.autoagents.autonomous_agent"
SCENARIO_VARIABLE = "ScenarioRouteNumber0"  # on the evaluator's blackboard: of the only scenario of a route
SCENARIO_STATES = {None: "absent", False: "built", True: "running"}
HERE = os.path.dirname(os.path.abspath(__file__))
SERVER_WAIT_S = 30  # what the evaluator sleeps after it has started the server
LONGEST_WAIT_S = 180.0
PORTS_TRIED = 18  # from the one asked for; twenty on, another simulator of the same run may have its own


def main():
    """Prepare this interpreter, then become the program that was asked for."""
    options, rest = _options().parse_known_args()
    clone = os.path.abspath(options.clone)
    target = {"evaluate": EVALUATOR, "junctions": ""}.get(options.what) if options.what != "tool" else rest.pop(0)
    sys.dont_write_bytecode = True  # leaves no __pycache__ in the clone
    sys.path[:0] = [os.path.join(clone, "leaderboard"), os.path.join(clone, "scenario_runner")]
    carla_root = os.environ.get("CARLA_ROOT", "")
    sys.path += [os.path.join(carla_root, "PythonAPI", "carla")] if carla_root else []  # after the wheel: only `agents`
    give_getchildren()
    give_distutils()
    give_pkg_resources()
    give_agents(clone)
    if options.what == "junctions":
        write_junctions(os.path.abspath(rest[0]), os.path.abspath(rest[1]), carla_root)
        return
    metrics, scenario = (os.path.abspath(name) if name else "" for name in (options.metrics, options.scenario))
    os.environ["SCENARIO_RUNNER_ROOT"] = os.path.join(clone, "scenario_runner")
    os.chdir(clone)  # the evaluator opens leaderboard/data/weather.xml by a relative path
    if options.what == "evaluate":
        shorten_server_wait(_port(rest))
        if metrics:
            record_metrics(metrics)
        if scenario:
            record_scenario(scenario)
    path = os.path.join(clone, target)
    sys.path.insert(0, os.path.dirname(path))
    sys.argv = [path] + rest
    runpy.run_path(path, run_name="__main__")


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clone", required=True, help="Bench2Drive's folder")
    parser.add_argument("--metrics", default="", help="file to append one JSON line a tick to")
    parser.add_argument("--scenario", default="", help="file that gets one JSON line a change of the scenario")
    parser.add_argument("what", choices=("evaluate", "tool", "junctions"))
    return parser


def _port(arguments):
    """The value of ``--port`` or ``--port=`` in the evaluator's arguments."""
    for name, following in zip(arguments, [*arguments[1:], ""]):
        if name == "--port":
            return int(following)
        if name.startswith("--port="):
            return int(name.split("=", 1)[1])
    return 2000


def give_getchildren():
    """Let parsed XML have ``getchildren`` again; ``items()`` must stay a list, so the C element is subclassed."""
    if hasattr(ElementTree.Element, "getchildren"):
        return

    class Element(ElementTree.Element):
        def getchildren(self):
            return list(self)

    parse = ElementTree.parse

    def parse_with_children(source, parser=None):
        builder = ElementTree.TreeBuilder(element_factory=Element)
        return parse(source, parser or ElementTree.XMLParser(target=builder))

    ElementTree.parse = parse_with_children


def give_distutils():
    """The two functions of ``distutils`` that are imported there."""
    if importlib.util.find_spec("distutils") is not None:
        return
    package, version, util = (types.ModuleType(n) for n in ("distutils", "distutils.version", "distutils.util"))
    package.__path__ = []
    package.version, package.util = version, util
    version.LooseVersion, util.strtobool = LooseVersion, strtobool
    sys.modules.update({"distutils": package, "distutils.version": version, "distutils.util": util})


class LooseVersion:
    """A version that compares by its numbers."""

    def __init__(self, text):
        self.version = [int(part) for part in re.findall(r"\d+", str(text))]

    def __lt__(self, other):
        return self.version < other.version

    def __eq__(self, other):
        return self.version == other.version


def strtobool(text):
    """1 or 0, as distutils had it."""
    known = dict.fromkeys(("y", "yes", "t", "true", "on", "1"), 1)
    known.update(dict.fromkeys(("n", "no", "f", "false", "off", "0"), 0))
    if text.lower() not in known:
        raise ValueError(f"invalid truth value {text!r}")
    return known[text.lower()]


def give_pkg_resources():
    """``pkg_resources.get_distribution(name).version``, all that is used of it."""
    if importlib.util.find_spec("pkg_resources") is not None:
        return
    import importlib.metadata as metadata

    module = types.ModuleType("pkg_resources")
    module.get_distribution = lambda name: types.SimpleNamespace(version=metadata.version(name))
    sys.modules["pkg_resources"] = module


def give_agents(clone):
    """CARLA's package ``agents``: the copy in the clone, mended, where CARLA's own folder is absent.

    The copy is loaded by its place: on the path, its folder would put a mock of carla before the real one.
    """
    found = importlib.util.find_spec("agents")
    places = found.submodule_search_locations or () if found else ()
    if any(os.path.isdir(os.path.join(place, "navigation")) for place in places):
        return  # any other folder of that name, such as the one beside autovla_core, is not CARLA's
    folder = os.path.join(clone, AGENTS_IN_CLONE)
    sys.meta_path.insert(0, _AgentsFinder(folder))


class _AgentsFinder:
    """Finds ``agents`` in the clone and two modules of it here."""

    OURS = {
        "agents.navigation.basic_agent": "clone_basic_agent.py",
        "agents.navigation.constant_velocity_agent": "clone_constant_velocity_agent.py",
    }

    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] != "agents":
            return None
        if name in self.OURS:
            return importlib.util.spec_from_file_location(name, os.path.join(HERE, self.OURS[name]))
        in_clone = name.replace("clones_basic_agent", "basic_agent")  # the copy's own, under another name
        place = os.path.join(self.folder, *in_clone.split(".")[1:])
        if os.path.isdir(place):
            file = os.path.join(place, "__init__.py")
            return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[place])
        loader = _Mended(name, place + ".py")
        return importlib.util.spec_from_file_location(name, place + ".py", loader=loader)


class _Mended(importlib.machinery.SourceFileLoader):
    """Loads a module whose lanes may end before the next sampling step, which raised IndexError."""

    def source_to_code(self, data, path, **kwargs):
        pattern = rb"^( *)(\w+) = \2\.next\(self\._sampling_resolution\)\[0\]"  # only inside the loop along a lane
        guard = rb"\1if not \2.next(self._sampling_resolution): break\n\1\2 = \2.next(self._sampling_resolution)[0]"
        return super().source_to_code(re.sub(pattern, guard, data, flags=re.M), path, **kwargs)


def shorten_server_wait(port):
    """Let the sleep of 30 s end when the server's port answers, and last longer when it does not yet.

    The evaluator goes on to the next port where it cannot bind one, so the first that begins to answer counts.
    """
    sleep = time.sleep
    candidates = [number for number in range(port, port + PORTS_TRIED) if not _answers(number)]

    def sleep_or_wait(seconds):
        if seconds != SERVER_WAIT_S:
            sleep(seconds)
            return
        end = time.monotonic() + LONGEST_WAIT_S
        while time.monotonic() < end:
            sleep(0.1)
            if any(_answers(number) for number in candidates):
                return

    time.sleep = sleep_or_wait


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def record_metrics(file):
    """Append what ``get_metric_info`` says to ``file`` at each tick, one JSON line, complete after a crash."""
    base = importlib.import_module(BASE_CLASS_MODULE)
    _wrap_call(base.AutonomousAgent, open(file, "a", buffering=1))  # noqa: SIM115  lives as long as we do


def _wrap_call(base, lines):
    call = base.__call__

    def recorded(self):
        if self.hero_actor is not None:
            lines.write(json.dumps(self.get_metric_info()) + "\n")
        return call(self)

    base.__call__ = recorded


def record_scenario(file):
    """Write each change of the route's scenario with its tick to ``file``, one JSON line each."""
    if importlib.util.find_spec("py_trees") is None:
        return  # no blackboard: this is not the real evaluator
    base = importlib.import_module(BASE_CLASS_MODULE)
    blackboard = importlib.import_module("py_trees.blackboard").Blackboard()
    lines = open(file, "w", buffering=1)  # noqa: SIM115  lives as long as we do
    _wrap_call_for_scenario(base.AutonomousAgent, lambda: blackboard.get(SCENARIO_VARIABLE), lines)


def _wrap_call_for_scenario(base, variable, lines):
    """The variable is None, False when the scenario was built, True while it runs and False again after its end."""
    call, seen = base.__call__, {"tick": 0, "state": ""}

    def recorded(self):
        state = SCENARIO_STATES[variable()]
        if state == "built" and seen["state"] in ("running", "ended"):
            state = "ended"
        if state != seen["state"]:
            lines.write(json.dumps({"tick": seen["tick"], "state": state}) + "\n")
        seen.update(tick=seen["tick"] + 1, state=state)
        return call(self)

    base.__call__ = recorded


def write_junctions(routes_file, out, carla_root):
    """Write ``{route id: [index of the first point in a junction, points]}`` of the 1 m routes, for the merge.

    The maps are read from the CARLA folder; no server is needed. A route without a junction is left out.
    """
    import carla

    planner = importlib.import_module("agents.navigation.global_route_planner").GlobalRoutePlanner
    marks, planners = {}, {}
    for route in ElementTree.parse(routes_file).getroot().iter("route"):
        town = route.get("town")
        if town not in planners:
            with open(_map_file(carla_root, town)) as stream:
                planners[town] = planner(carla.Map(town, stream.read()), 1.0)
        places = [carla.Location(*(float(p.get(k)) for k in "xyz")) for p in route.find("waypoints").iter("position")]
        pairs = zip(places, places[1:])
        points = [point for a, b in pairs for point, _ in planners[town].trace_route(a, b)]
        first = next((i for i, point in enumerate(points) if point.is_junction), None)
        if first is not None:
            marks[route.get("id")] = [first, len(points)]
    with open(out + ".partial", "w") as stream:
        json.dump(marks, stream)
    os.replace(out + ".partial", out)


def _map_file(carla_root, town):
    maps = os.path.join(carla_root, "CarlaUE4", "Content", "Carla", "Maps")
    places = [os.path.join(maps, "OpenDrive", town + ".xodr"), os.path.join(maps, town, "OpenDrive", town + ".xodr")]
    for place in places:
        if os.path.isfile(place):
            return place
    raise SystemExit(f"no map of {town}: looked for {' and '.join(places)}")


if __name__ == "__main__":
    main()
