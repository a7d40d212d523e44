"""Supervised fine-tuning: route logs or other data sets in, a model folder out.

    python -m training.sft --config training/recipes/tiny_sft.yaml [--minutes 60] [--out runs/tiny_sft]

Trains from scratch, or from ``model.init``. ``data.sources`` of a recipe names other data sets (docs/datasets.md); a
split that benchmarks are scored on is refused unless ``--i-know`` is given. Ctrl-C or SIGTERM saves; the same command
goes on from there. ``<out>/model`` always holds the best model so far, ready to drive.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import logging
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from autovla_core import config
from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.contracts import CLIP_IMAGES, PLAN_STEPS, RULES
from autovla_core.errors import AutoVLAError, CheckpointError
from autovla_core.model import checkpoint, tiny
from autovla_core.model.backbone import PAIR
from autovla_core.model.encoding import CameraView, Encoder
from autovla_core.model.mirror import Mirror
from autovla_core.model.patches import batch_vision
from autovla_core.model.tiny_thoughts import with_thoughts
from training import loop, losses
from training.augment import AugmentConfig
from training.collate import NEAR_M, Batch, Collator
from training.datasets.mixture import Mixture, MixtureConfig, Part, open_source
from training.datasets.reasons import ThinkingRoutes
from training.datasets.routes import AHEAD, RouteDataset, find_routes, sample_weights, split
from training.datasets.sampled import Columns
from training.loop import LoopConfig, Progress
from training.sampler import Sampler
from training.validation import validate

logger = logging.getLogger(__name__)

STOPPED = 130  # as a shell says it of Ctrl-C
SEEN_NEAR = float(np.exp(-30.0 / NEAR_M))  # nearness at 30 m: what is farther counts as not there
NO_EVIDENCE = -4.0  # at first no single token speaks for anything


@dataclass(frozen=True)
class DataConfig(MixtureConfig):
    """A mixture, what of it is taught and how much of it is validated on."""

    thoughts: bool = False  # teach slow answers where a log has reasons (docs/reasons.md)
    held_out_samples: int = 384


@dataclass(frozen=True)
class ModelConfig:
    """A size of ``model.tiny.SIZES`` from scratch, or ``init``: a model folder to go on from."""

    size: str = "n1"
    init: Path | None = None
    codebook: Path | None = None  # None: the shipped one
    cameras: tuple[CameraView, ...] = (CameraView("front", 140, 280),)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms."""

    action: float = 1.0  # lambda_a of the paper
    waypoints: float = 1.0  # auxiliary head, dropped from the saved model
    outlook: float = 0.5  # another: which rule binds, what is how near (losses.outlook_loss)
    evidence: float = 0.0  # a third, on the image tokens: is there a light, a sign, a leader (losses.evidence_loss)
    reasoning: float = 1.0  # of a sample with a thought; lambda_cot of the paper, which takes 40
    mode: float | None = None  # of the token that chooses fast or slow, outside the mean; None: inside, as the paper
    soft_sigma: float = 0.0  # m; 0 trains on the one right token


@dataclass(frozen=True)
class SftConfig:
    """One recipe file."""

    data: DataConfig
    out: Path
    loop: LoopConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    batch_size: int = 32
    seed: int = 0
    threads: int = 2
    compile: bool = False  # torch.compile the loss: a fifth faster after a minute, where a C++ compiler is at hand


class Trainee(nn.Module):
    """The model and its auxiliary heads, which are not saved with it.

    Two read the state that chooses the first action: ten positions, and what lies ahead. One reads the newest images.
    """

    def __init__(self, vlm: Qwen2_5_VLForConditionalGeneration, encoder: Encoder, codebook: Codebook, loss: LossConfig):
        super().__init__()
        self.vlm = vlm
        self._width = width = vlm.config.text_config.hidden_size
        self.waypoints = nn.Linear(width, PLAN_STEPS * 2)
        self.outlook = nn.Linear(width, len(RULES) + len(AHEAD))
        self.evidence = nn.Linear(width, len(AHEAD))
        nn.init.constant_(self.evidence.bias, NO_EVIDENCE)
        vlm.model.visual.register_forward_hook(self._keep_image_states)
        self._image_states: torch.Tensor | None = None  # (tokens of a batch, D), of the newest forward
        self._encoder, self._loss = encoder, loss
        corners = torch.from_numpy(codebook.corners)
        self._neighbours = losses.neighbour_table(corners, loss.soft_sigma) if loss.soft_sigma > 0 else None

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch, and its terms without weights."""
        states = self._answer_states(batch)
        logits = self.vlm.lm_head(states)
        cross_entropy = losses.weighted_cross_entropy(logits, batch.labels, batch.weights)
        if self._neighbours is not None:
            cross_entropy = self._soften(logits, batch)
        first = batch.action.int().argmax(dim=1)
        start = states[torch.arange(len(first)), first]
        waypoints = losses.waypoint_loss(self.waypoints(start).view(-1, PLAN_STEPS, 2), batch.poses, batch.known)
        outlook = losses.outlook_loss(self.outlook(start), batch.rule, batch.nearness)
        evidence = losses.evidence_loss(self._image_evidence(len(first)), batch.nearness > SEEN_NEAR, batch.rule)
        counted = batch.action & (batch.weights > 0.0)  # poses that are not known weigh nothing
        right = (logits.detach().argmax(-1) == batch.labels)[counted].float().mean()
        found = {"cross_entropy": cross_entropy, "waypoints": waypoints, "outlook": outlook}
        found |= {"evidence": evidence, "accuracy": right}
        total = cross_entropy + self._loss.waypoints * waypoints + self._loss.outlook * outlook
        total = total + self._loss.evidence * evidence
        return total, {name: value.detach() for name, value in found.items()}

    def _keep_image_states(self, tower: nn.Module, given: object, output: BaseModelOutputWithPooling) -> None:
        self._image_states = output.pooler_output

    def _image_evidence(self, count: int) -> torch.Tensor:
        """Logits (B, T, 4) of the tokens of every camera's newest pair of images."""
        clips = self._image_states.view(count, len(self._encoder.camera_ids), CLIP_IMAGES // PAIR, -1, self._width)
        return self.evidence(clips[:, :, -1].flatten(1, 2))

    def _answer_states(self, batch: Batch) -> torch.Tensor:
        """Last hidden states (B, T, D) at the places that predict the answer."""
        count, length = batch.ids.shape
        hidden = self.vlm.model(
            input_ids=batch.ids,
            pixel_values_videos=self._encoder.patches(batch.clips, (batch.gain, batch.offset)),
            position_ids=self._encoder.positions(length).expand(3, count, -1),
            use_cache=False,
            **self._encoder.vision(count),
        ).last_hidden_state
        return hidden[torch.arange(count)[:, None], batch.places]

    def _soften(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The same weighted sum, with action targets spread over neighbouring motions."""
        first, last = self._encoder.first_action, self._encoder.first_action + self._encoder.actions
        hard = nn.functional.cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), reduction="none")
        tokens = torch.where(batch.action, batch.labels - first, 0)
        soft = losses.soft_cross_entropy(logits[..., first:last], tokens, self._neighbours)
        per_token = torch.where(batch.action, soft, hard.view_as(soft))
        return (batch.weights * per_token).sum(1).mean()


def build(settings: SftConfig) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase, Codebook]:
    """The model to train, its tokenizer and its codebook.

    Raises:
        CheckpointError: ``model.init`` was trained for another rig.
    """
    if settings.model.init is None:
        codebook = Codebook.load(settings.model.codebook or SHIPPED)
        tokenizer = tiny.build_tokenizer(len(codebook), settings.data.thoughts)
        height = max(camera.height for camera in settings.model.cameras)
        width = max(camera.width for camera in settings.model.cameras)
        model = tiny.build_model(settings.model.size, tokenizer, codebook, height, width, settings.seed)
        return model, tokenizer, codebook
    record = checkpoint.read_record(settings.model.init)
    if record.cameras != settings.model.cameras:
        raise CheckpointError(f"{settings.model.init} sees {record.cameras}, the recipe {settings.model.cameras}")
    model, tokenizer = checkpoint.load(settings.model.init)
    codebook = checkpoint.read_codebook(settings.model.init, record)
    if settings.data.thoughts:
        model, tokenizer = with_thoughts(model, tokenizer, len(codebook), settings.seed)
    return model, tokenizer, codebook


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it is validated on."""

    training: Part
    held_out: Part
    frequencies: np.ndarray  # (S,) of the training samples
    held_out_frequencies: np.ndarray
    scenes: int  # routes and scenes of the training side


def load_data(settings: SftConfig, codebook: Codebook, i_know: bool = False) -> Data:
    """Open what the recipe names: route logs alone, or with other data sets as one mixture.

    Raises:
        LogError, DatasetError: nothing there, or a split that must not be trained on.
    """
    data, cameras = settings.data, settings.model.cameras
    sides: list[tuple[Part, Part, float]] = []
    if data.routes or not data.sources:
        training, held_out = split(find_routes(data.routes), data.held_out)
        opened = (training, held_out or training[:1])
        kind = ThinkingRoutes if data.thoughts else RouteDataset
        logs = [kind(side, cameras, codebook, data.cache, settings.threads) for side in opened]
        if not data.sources:
            own = [sample_weights(part.samples, data.frequency) for part in logs]
            return Data(*logs, *own, len(training))
        sides.append((*logs, data.routes_weight))
    for source in data.sources:
        training, held_out = open_source(source, cameras, codebook, data.cache, settings.threads, i_know)
        sides.append((training, held_out or training, source.weight))
    weights = [weight for *_, weight in sides]
    mixed = [Mixture([side[i] for side in sides]) for i in (0, 1)]
    own = [[sample_weights(side[i].samples, data.frequency) for side in sides] for i in (0, 1)]
    scenes = int(mixed[0].samples.route.max()) + 1
    return Data(*mixed, *(mix.frequencies(part, weights) for mix, part in zip(mixed, own)), scenes)


def thought_ids(dataset: Part, encoder: Encoder) -> dict[int, tuple[int, ...]]:
    """For every sample with a thought, the ids of a slow answer up to its first action."""
    thoughts = enumerate(Columns.of(dataset.samples).thought)
    return {i: encoder.slow_ids + encoder.ids(text) + encoder.close_ids for i, text in thoughts if text is not None}


def train(
    settings: SftConfig, stop: threading.Event | None = None, i_know: bool = False
) -> tuple[Progress, dict[str, float]]:
    """Run one recipe; return where it ended and the scores of the best model, which lies in ``out/model``.

    Args:
        i_know: train even on a split that benchmarks are scored on.
    """
    torch.manual_seed(settings.seed)
    model, tokenizer, codebook = build(settings)
    batch_vision(model)
    cameras = settings.model.cameras
    encoder = Encoder(model, tokenizer, cameras, len(codebook))
    data = load_data(settings, codebook, i_know)
    chosen = _validation_samples(data, settings)
    mirror = Mirror.of(model) if settings.data.thoughts else None  # answers as the car will: see ``validate``
    trainee = Trainee(model, encoder, codebook, settings.loss)
    collator = Collator(
        data.training,
        encoder,
        codebook,
        data.frequencies,
        settings.augment,
        settings.batch_size,
        settings.loss.action,
        settings.seed,
        thought_ids(data.training, encoder),
        settings.loss.reasoning,
        settings.loss.mode,
    )
    best: dict[str, float] = _best_so_far(settings.out)

    def check(progress: Progress) -> dict[str, float]:
        sampler = None
        if mirror is not None:  # a sampler anew each time: it remembers what the vision tower saw in earlier pictures
            mirror.follow()
            sampler = Sampler(mirror.plain, tokenizer, cameras, codebook, parts=False)
        scores = validate(model, encoder, codebook, data.held_out, chosen, sampler)
        if not scores["ade_m"] > best.get("ade_m", np.inf):
            best.clear()
            best.update(scores)
            provenance = _provenance(settings, progress, len(data.training), data.scenes, scores)
            checkpoint.save(settings.out / "model", model, tokenizer, codebook, cameras, provenance)
        return scores

    loss = compiled(trainee) if settings.compile else trainee
    progress = loop.fit(trainee, collator.batch, loss, settings.loop, settings.out, check, stop)
    return progress, dict(best)


def compiled(trainee: Trainee) -> nn.Module:
    """The same loss through torch.compile; as it is where there is no C++ compiler."""
    if torch.get_default_device().type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        logger.warning("compile: true needs a C++ compiler (c++, g++ or clang++), none found; going on without")
        return trainee
    return torch.compile(trainee)


def _validation_samples(data: Data, settings: SftConfig) -> np.ndarray:
    """A fixed, balanced choice of held-out samples."""
    frequencies = data.held_out_frequencies
    count = min(settings.data.held_out_samples, int((frequencies > 0).sum()))
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.choice(len(data.held_out), count, replace=False, p=frequencies / frequencies.sum()))


def _best_so_far(out: Path) -> dict[str, float]:
    """Scores of ``out/model`` when a run goes on; empty for a new run."""
    if not (out / "checkpoint").exists() or not (out / "model").exists():
        return {}
    return dict(checkpoint.read_record(out / "model").training["scores"])


def _provenance(
    settings: SftConfig, progress: Progress, samples: int, routes: int, scores: dict[str, float]
) -> dict[str, object]:
    return {
        "program": "training.sft",
        "recipe": config.to_dict(settings),
        "steps": progress.step,
        "minutes": round(progress.elapsed_s / 60.0, 1),
        "samples": samples,
        "routes": routes,
        "scores": scores,
    }


def override(settings: SftConfig, given: Mapping[str, object]) -> SftConfig:
    """The recipe with what the command line changes; None changes nothing."""
    given = {name: value for name, value in given.items() if value is not None}
    whole = {name: given[name] for name in ("out", "threads") if name in given}
    if "minutes" in given:
        whole["loop"] = dataclasses.replace(settings.loop, minutes=given["minutes"], steps=None)
    if "routes" in given:
        whole["data"] = dataclasses.replace(settings.data, routes=tuple(given["routes"]))
    if "init" in given:
        whole["model"] = dataclasses.replace(settings.model, init=given["init"])
    return dataclasses.replace(settings, **whole)


def keep_memory() -> None:
    """Tell glibc to keep freed blocks: giving 40 MB tensors back to the system each step costs a fifth of the time."""
    trim_threshold, mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 2**30)
    libc.mallopt(trim_threshold, 2**31 - 1)


def main() -> int:
    """Parse the command line and run the recipe; return 0 when it is finished, 1 after an error, 130 when stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--routes", type=Path, nargs="+", help="folders of route logs, instead of the recipe's")
    parser.add_argument("--init", type=Path, help="model folder to go on from, instead of from scratch")
    parser.add_argument("--minutes", type=float, help="instead of the recipe's length")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--i-know", action="store_true", help="train even on a split that benchmarks are scored on")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = override(config.load(SftConfig, args.config), vars(args))
        keep_memory()
        torch.set_num_threads(settings.threads)
        progress, scores = train(settings, stop, args.i_know)
    except AutoVLAError as error:
        print(f"training.sft: {error}", file=sys.stderr)
        return 1
    state = "finished" if progress.finished else "stopped; the same command goes on from here"
    logger.info("%s at step %d: %s, model in %s", state, progress.step, scores, settings.out / "model")
    return 0 if progress.finished else STOPPED


if __name__ == "__main__":
    sys.exit(main())
