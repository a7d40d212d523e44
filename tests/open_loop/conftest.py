"""Miniature data sets in their genuine layouts, written by the programs in fixtures/, and their indices."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autovla_core.action.codebook import SHIPPED, Codebook
from tests.open_loop.fixtures import devkit_classes, write_navsim, write_nuscenes
from training.datasets import navsim, nuscenes


def load_program(file: Path) -> ModuleType:
    """A program of the tests as a module, wherever it lies."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def writer() -> ModuleType:
    """``fixtures/write_nuscenes.py``."""
    return write_nuscenes


@pytest.fixture(scope="session")
def write_route() -> Callable[..., Path]:
    """Writes a small route log, see tests/training/conftest.py."""
    return load_program(Path(__file__).parents[1] / "training" / "conftest.py").write_route


@pytest.fixture(scope="session")
def root(writer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature nuScenes, with pictures of minicarla."""
    return writer.write(tmp_path_factory.mktemp("nuscenes"))


@pytest.fixture(scope="session")
def index(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its index."""
    out = tmp_path_factory.mktemp("index")
    nuscenes.prepare(root, out, "mini_train")
    return out


@pytest.fixture(scope="session")
def plain_root(writer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with grey pictures: for copies that are broken on purpose."""
    return writer.write(tmp_path_factory.mktemp("plain"), pictures=False)


@pytest.fixture(scope="session")
def navsim_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature NAVSIM with its index of ``navmini`` in ``index``; do not change it."""
    root = write_navsim.write_root(tmp_path_factory.mktemp("navsim"))
    navsim.prepare(root, root / "index", "navmini")
    return root


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Stand-ins for the devkit's classes, by name, to pickle."""
    return devkit_classes.install(monkeypatch)


@pytest.fixture
def copy(plain_root: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(plain_root, tmp_path / "copy"))


@pytest.fixture(scope="session")
def codebook() -> Codebook:
    return Codebook.load(SHIPPED)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
