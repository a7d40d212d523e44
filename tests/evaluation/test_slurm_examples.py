"""The job scripts in docs/examples, run with programs in place of SLURM's that only note how they were called."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTE = """#!/bin/sh
echo "$(basename "$0") $@" >> "$CALLS"
"""
SRUN = """#!/bin/sh
echo "srun $@" >> "$CALLS"
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
PROGRAMS = {
    ".venv/bin/ray": NOTE,
    ".venv/bin/python": f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\n' + NOTE.split("\n", 1)[1],
    "bin/srun": SRUN,
    "bin/scontrol": "#!/bin/sh\nprintf 'node1\\nnode2\\nnode3\\n'\n",
    "bin/hostname": "#!/bin/sh\necho 10.0.0.1 10.0.0.2\n",
}


@pytest.fixture
def submit(tmp_path):
    for name, text in PROGRAMS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def call(script: str, **variables: str) -> list[str]:
        environment = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
        }
        environment |= {"SLURM_SUBMIT_DIR": str(tmp_path), **variables}
        done = subprocess.run(
            ["bash", str(ROOT / "docs/examples" / script)], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return (tmp_path / "calls").read_text().splitlines()

    return call


def options_of(command: str, monkeypatch):
    """What tools/evaluate_routes.py makes of a command that was noted."""
    words = command.split()
    assert words[:2] == ["python", "tools/evaluate_routes.py"]
    spec = importlib.util.spec_from_file_location("evaluate_routes", ROOT / words[1])
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr("sys.argv", words[1:])
    options = tool._options()
    assert (ROOT / options.routes).is_file() and (ROOT / options.agent).is_file()
    assert (ROOT / options.agent_config).is_file()
    return options


def test_a_task_of_the_array_drives_its_share_and_the_last_job_merges(submit, monkeypatch):
    submit("slurm_evaluate.sh", SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="8")
    task, merge = submit("slurm_evaluate.sh", MERGE="1")
    driven, merged = options_of(task, monkeypatch), options_of(merge, monkeypatch)
    assert (driven.shard, driven.merge, merged.shard, merged.merge) == ("3/8", False, "", True)
    assert {**vars(driven), "shard": "", "merge": True, "workers": 1} == vars(merged)


def test_a_ray_job_starts_a_head_then_the_others_then_drives(submit, monkeypatch):
    variables = {"SLURM_JOB_ID": "123", "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "16"}
    calls = submit("slurm_ray.sh", SLURM_JOB_NODELIST="node[1-3]", **variables)
    started = sorted(line for line in calls if line.startswith("ray start"))
    assert len(started) == 2 and "--address=10.0.0.1:20123 " in started[0]
    assert "--head --node-ip-address=10.0.0.1 --port=20123 " in started[1]
    assert any(line.startswith("srun --nodes=2 --ntasks=2 --overlap --exclude=node1 ") for line in calls)
    options = options_of(next(line for line in calls if line.startswith("python")), monkeypatch)
    assert (options.ray, options.workers, options.ray_cpus) == ("10.0.0.1:20123", 24, 2.0)
