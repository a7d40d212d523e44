"""Route logs of a straight road with truth and reasons, ways of thinking, and what a run left: for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from autovla_core.contracts import Actor, LightState, Outlook
from autovla_core.logs import reasons, truth
from autovla_core.logs.reader import RouteLog
from autovla_core.logs.schema import RouteMeta, Tick
from autovla_core.logs.truth import PolygonKind, RouteMap, TrackRecorder
from autovla_core.logs.writer import RouteWriter
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.generate import Generated
from autovla_core.model.grammar import Grammar
from autovla_core.model.likelihood import log_likelihood, spell
from autovla_core.model.sampling import Sampling
from autovla_core.model.thinking import ThinkingConfig
from autovla_core.prompt.reasoning_facts import Facts, SeenLight, to_line

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = (CameraView("front", 56, 84),)
WARM = Sampling(temperature=1.0)
FAST = ThinkingConfig("fast", actions=WARM)
ADAPTIVE = ThinkingConfig("adaptive", most_tokens=8, words=WARM, actions=WARM)
VEHICLE = (1.1, 3.9, 1.0, 2.85)  # half width, rear axle to front and to rear, wheel base


def box(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def road() -> RouteMap:
    """One lane along x, and its surface."""
    x = np.arange(-50.0, 400.0)
    line = np.stack([x, np.zeros_like(x), np.zeros_like(x)], -1)
    return RouteMap(
        np.concatenate([box(-50, 400, -1.75, 1.75), box(-50, 400, -1.75, 1.75)]),
        np.array([0, 4, 8], np.int32),
        np.array([PolygonKind.LANE, PolygonKind.ROAD], np.uint8),
        np.zeros((2, 3), np.int32),
        np.array([True, False]),
        np.full(2, 10.0, np.float32),
        np.full(2, -1, np.int32),
        line.astype(np.float32),
        np.array([0, len(line), len(line)], np.int32),
        line,
    )


def write_route(folder: Path, speed: float, seconds: float = 12.0, shift_m: float = 0.0) -> Path:
    """A drive at constant speed, planned twice a second; the picture's brightness tells the speed."""
    meta = RouteMeta(
        "Nowhere", folder.name, 0, rig={"front": {"id": "front", "width": 84, "height": 56, "fov_deg": 80}}
    )
    plan = np.stack([0.5 * speed * np.arange(1, 11), np.zeros(10), np.zeros(10)], -1)
    recorder = TrackRecorder(VEHICLE)
    with RouteWriter(folder, meta) as writer:
        for number in range(round(20 * seconds)):
            time_s = 0.05 * number
            writer.tick(Tick(time_s, speed * time_s, 0.0, 0.0, 0.0, speed, 0.0, 0.0))
            if number % 5 == 0:
                writer.image("front", number, np.full((56, 84, 3), int(15 * speed), np.uint8))
                writer.plan(number, plan, Outlook("lead" if number % 10 == 0 else "cruise"))
            if number % 2 == 0:
                ego = [speed * time_s + shift_m, 0.0, 0.0, speed, 0.0, 0.0, 0.0, 0.0, 0.0]
                parked = Actor(3, "vehicle", np.array([speed * seconds + 30.0, 0.0, 0.0]), 0.0, 4.6, 1.9)
                recorder.add(time_s, ego, [parked], {7: LightState.GREEN})
    truth.write_map(folder, road())
    truth.write_tracks(folder, recorder.finish())
    return folder


def write_reasons(folder: Path) -> Path:
    """A red light is seen at every second plan, and nothing at the others."""
    light = SeenLight(7, "red", 25.0, 30)
    known = [(int(tick), light if tick % 10 == 0 else None) for tick in RouteLog(folder).plans["tick"]]
    facts = [Facts(t, 8.0, 4, "light" if seen else "cruise", 7 if seen else 0, light=seen) for t, seen in known]
    return reasons.write_lines(folder, [to_line(each) for each in facts])


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "module.safetensors")


def lines(out: Path, kind: str) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def scored_plainly(
    model: torch.nn.Module,
    encoder: Encoder,
    grammar: Grammar,
    prompt: tuple[int, ...],
    features: torch.Tensor,
    found: Generated,
    thinking: ThinkingConfig,
) -> torch.Tensor:
    """Log-probabilities (C,) of an answer's choices by one plain pass over prompt, features (V, D) and answer."""
    ids = torch.tensor([prompt + spell(grammar, found)])
    text, places = model.model.language_model, encoder.video_places
    x = text.embed_tokens(ids)
    x = torch.cat([x[:, : places[0]], features[None], x[:, places[-1] + 1 :]], 1)  # one camera: one stretch of places
    out = text(inputs_embeds=x, position_ids=encoder.positions(ids.shape[1]), use_cache=False)
    scores = model.lm_head(out.last_hidden_state[0, len(prompt) - 1 : -1]).float()
    return log_likelihood(scores, grammar, found, thinking)
