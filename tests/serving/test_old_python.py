"""The client file really runs under an old Python, where the machine has one with numpy on its path.

That its syntax and imports are old enough is held everywhere by ``test_messages.py``.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from autovla_core.contracts import Clip
from autovla_core.serving import client as wire

VERSIONS = ("3.7", "3.8", "3.9")
TOKEN = "correct horse battery"
CLIENT = """
import json, sys
import numpy as np
import autovla_client
from autovla_client import Client, RemoteError, Unreachable

address, token = sys.argv[1:]
values = np.load("observation.npz")
client = Client(address, token=token, reconnect_s=0.0)
clips = {"front": (values["images"], values["times"])}
arguments = dict(clips=clips, acceleration=-0.25, pose=values["pose"], command=1, route=values["route"])
plan = client.plan(1.5, speed=5.0, instruction="biege links ab", **arguments)
found = {"python": list(sys.version_info[:2]), "poses": plan.poses.tolist(), "tokens": plan.tokens.tolist()}
found.update(thought=plan.thought, mode=plan.mode, forced=plan.forced, log_probs=plan.log_probs.tolist())
found.update(ok=client.health()["ok"], plans=client.statistics()["counts"]["plans"])
try:
    client.plan(1.5, speed=-1.0, **arguments)
except RemoteError as error:
    found["refused"] = str(error)
try:
    Client(address, token="another one, as long", reconnect_s=0.0).health()
except (RemoteError, Unreachable) as error:
    found["stranger"] = str(error)
found["foreign"] = sorted(m for m in sys.modules if m.startswith("autovla_core"))
json.dump(found, sys.stdout)
"""


def interpreter(version: str) -> str | None:
    """An interpreter of this version that has numpy, or None."""
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    done = subprocess.run([found, "-c", "import numpy"], capture_output=True, timeout=120)
    return found if done.returncode == 0 else None


@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_file_alone_plans_under_an_old_python(version: str, planner, serve, observe, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python{version} with numpy here")
    shutil.copyfile(wire.__file__, tmp_path / "autovla_client.py")
    (tmp_path / "main.py").write_text(CLIENT)
    observation = dataclasses.replace(observe(), instruction="biege links ab")
    clip: Clip = observation.clips["front"]
    state = {"pose": observation.pose, "route": observation.route}
    np.savez(tmp_path / "observation.npz", images=clip.images, times=clip.times_s, **state)
    address = serve(planner, token=TOKEN).address
    done = subprocess.run(
        [python, "main.py", address, TOKEN], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found, expected = json.loads(done.stdout), planner.plan(observation)
    assert found["python"] == [int(part) for part in version.split(".")]
    assert found["poses"] == expected.poses.tolist() and found["tokens"] == expected.tokens.tolist()
    assert found["log_probs"] == expected.log_probs.tolist()
    assert (found["thought"], found["mode"], found["forced"]) == ("ü biege links ab", "slow", "deadline")
    assert found["ok"] is True and found["plans"] == 1 and found["refused"] == "ObservationError: speed is -1.0"
    assert "token" in found["stranger"] and found["foreign"] == []
