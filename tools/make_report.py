"""One self-contained HTML file of one or several results files, or folders of tools/run_bench2drive.py.

    python tools/make_report.py baseline=runs/baseline.json vla=runs/vla.json --out runs/report.html \\
        --routes leaderboard_configs/routes/havenbrook_test40.xml --config vla=leaderboard_configs/autovla_agent.yaml \\
        --logs vla=runs/logs/vla --film vla:0:0=runs/demo/drive.mp4

``--logs`` takes one route log or a folder of them; ``--film`` names run, route and seed of its drive.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from autovla_core.errors import AutoVLAError, ConfigError
from autovla_core.evaluation.report.collect import RunResults, read_run
from autovla_core.evaluation.report.gallery import Media, Scene, filmed, read_logs, scenes_of, shares
from autovla_core.evaluation.report.page import page
from autovla_core.files import sha256, write_whole
from autovla_core.logs.reader import route_folders
from autovla_core.logs.schema import META_FILE


def main() -> int:
    """Return the exit code."""
    options = _options()
    try:
        write_whole(Path(options.out), _report(options))
    except (AutoVLAError, OSError) as error:
        print(f"make_report: {error}", file=sys.stderr)
        return 1
    print(f"report: {options.out} ({Path(options.out).stat().st_size / 1e6:.1f} MB)")
    return 0


def _report(options: argparse.Namespace) -> str:
    files = _named(options.results)
    runs = [read_run(name, file, options.routes) for name, file in files.items()]
    logs, configs, checkpoints = _named(options.logs), _named(options.config), _named(options.checkpoint)
    _expect_known(files, logs, configs, checkpoints)
    media = {name: read_logs(_log_folders(folder)) for name, folder in logs.items()}
    for text in options.film:
        name, key, film = _film(text, files)
        kept = media.get(name, Media())
        media[name] = dataclasses.replace(kept, films={**kept.films, key: film})
    facts = {
        name: {
            **_config_facts(run, configs.get(name)),
            **_checkpoint_facts(checkpoints.get(name)),
            **_torn_facts(media.get(name)),
        }
        for name, run in zip(files, runs)
    }
    plans = {name: list(kept.plans.values()) for name, kept in media.items()}
    counts = [len(filmed(run, media[run.name])) if run.name in media else 0 for run in runs]
    scenes = _scenes(runs, media, shares(counts, options.clips))
    return page(options.title, runs, scenes, plans, facts, sum(counts))


def _scenes(runs: Sequence[RunResults], media: dict[str, Media], limits: Sequence[int]) -> list[Scene]:
    shown = [(run, limit) for run, limit in zip(runs, limits) if limit]
    return [
        scene
        for run, limit in tqdm(shown, desc="clips", disable=not shown)
        for scene in scenes_of(run, media[run.name], limit)
    ]


def _named(given: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        name, _, file = text.partition("=")
        if not name or not file or not Path(file).exists():
            raise ConfigError(f"found {text!r}, expected NAME=PATH with a path that exists")
        if name in found:
            raise ConfigError(f"the name {name!r} is given twice; choose another")
        found[name] = Path(file)
    return found


def _expect_known(files: dict[str, Path], *given: dict[str, Path]) -> None:
    unknown = sorted({name for named in given for name in named} - set(files))
    if unknown:
        raise ConfigError(f"no results of that name: {', '.join(unknown)}; given are {', '.join(files)}")


def _film(text: str, files: dict[str, Path]) -> tuple[str, tuple[str, int], Path]:
    label, _, film = text.partition("=")
    name, _, rest = label.partition(":")
    route, _, seed = rest.rpartition(":")
    if name not in files or not route or not seed.isdigit() or not Path(film).is_file():
        raise ConfigError(f"found --film {text!r}, expected RUN:ROUTE:SEED=FILE with a run of {', '.join(files)}")
    return name, (route, int(seed)), Path(film)


def _log_folders(folder: Path) -> list[Path]:
    """One log, or those in a folder; drives that went wrong lie in its ``failed``."""
    if (folder / META_FILE).is_file():
        return [folder]
    failed = folder / "failed"
    return [*route_folders(folder), *(route_folders(failed) if failed.is_dir() else [])]


def _config_facts(run: RunResults, file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    found, told = sha256(file), str(run.run.get("agent_config", ""))
    if told and told != found:
        raise ConfigError(f"{run.name} was driven with the agent YAML {told}, but {file} is {found}; give that file")
    return {"agent YAML": file.name, "its text": file.read_text(encoding="utf-8").strip()}


def _checkpoint_facts(folder: Path | None) -> dict[str, str]:
    """Every weight file, hashed as the bytes lie."""
    if folder is None:
        return {}
    files = [folder] if folder.is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} holds no *.safetensors; expected a checkpoint folder")
    return {f"checkpoint {file.name} sha256": sha256(file) for file in files}


def _torn_facts(media: Media | None) -> dict[str, str]:
    """Plans that a crash cut off, if there are any."""
    return {"plans cut off by a crash": str(media.torn)} if media and media.torn else {}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="NAME=PATH", help="results JSON, or run folder")
    parser.add_argument("--out", default="report.html")
    parser.add_argument("--title", default="Closed-loop evaluation")
    parser.add_argument("--routes", action="append", default=[], metavar="XML", help="route files driven, for weathers")
    parser.add_argument("--config", action="append", default=[], metavar="NAME=YAML", help="agent YAML; must fit")
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="NAME=FOLDER", help="hashed into the report"
    )
    parser.add_argument(
        "--logs", action="append", default=[], metavar="NAME=FOLDER", help="route logs, for the gallery"
    )
    parser.add_argument("--film", action="append", default=[], metavar="NAME:ROUTE:SEED=MP4")
    parser.add_argument("--clips", type=int, default=24, help="largest number of faults in the gallery, of all runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
