"""Files that belong to others and are not shipped; tests that need them run when these variables name them.

BENCH2DRIVE_CLONE      a clone of Thinklab-SJTU/Bench2Drive: its own scripts are run on generated files; they need scipy
BENCH2DRIVE_PUBLISHED  the folder "analysis" of Thinklab-SJTU/Bench2DriveZoo (UniAD-Base.json and others)
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bench2drive_clone() -> Path:
    return _given("BENCH2DRIVE_CLONE")


@pytest.fixture(scope="session")
def published_results() -> Path:
    return _given("BENCH2DRIVE_PUBLISHED")


def _given(name: str) -> Path:
    if not os.environ.get(name):
        pytest.skip(f"{name} is not set")
    folder = Path(os.environ[name]).resolve()
    assert folder.is_dir(), f"{name}={folder} is no folder"
    return folder
