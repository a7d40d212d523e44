"""What a group costs: drawing, scoring with its gradient by a shared prompt and by repeated ones, in CPU time.

    python -m training.rft_benchmark --model models/autovla-tiny [--group 8] [--mode slow] [--tokens 44]

On noise images; thoughts of a model that was never taught to think run to ``--tokens``. Rewards cost besides: about
0.3 ms a plan for PDM, 4 ms a scene.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autovla_core.contracts import CLIP_IMAGES, Command
from autovla_core.model.sampling import Dice
from autovla_core.model.thinking import MODES, ThinkingConfig
from training.datasets.mixture import MixtureConfig
from training.rft_groups import Group
from training.rft_policy import Policy
from training.rft_settings import WARM, GrpoConfig, RftConfig, StepsConfig
from training.rft_tally import Tally
from training.rft_update import Reading, Update
from training.sft import keep_memory


def draw(policy: Policy, settings: RftConfig, number: int) -> Group:
    """A group on noise images, with advantages of chance."""
    rng = np.random.default_rng(number)
    sampler, size = policy.sampler, settings.grpo.group
    shapes = {camera.id: (1, CLIP_IMAGES, camera.height, camera.width, 3) for camera in policy.record.cameras}
    features = sampler.look({name: rng.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()})
    prompt = sampler.encoder.prompt(5.0 + number % 5, 0.0, Command.FOLLOW)
    answers = sampler.answer([prompt], features, settings.thinking, size, Dice.of(number, size))
    chance = rng.normal(size=size)
    whole = prompt + sampler.grammar.opening(settings.thinking.mode)
    return Group(whole, features, tuple(answers), chance, chance - chance.mean())


def alone(group: Group) -> list[Group]:
    """The same answers, each with a prompt of its own: what libraries do that repeat the prompt."""
    rows = zip(group.answers, group.rewards, group.advantages)
    return [replace(group, answers=(a,), rewards=np.array([r]), advantages=np.array([v])) for a, r, v in rows]


def gradient(policy: Policy) -> torch.Tensor:
    """What gathered, as one vector; nothing is left."""
    found = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in policy.trainable]
    for parameter in policy.trainable:
        parameter.grad = None
    return torch.cat(found)


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU milliseconds of one call."""
    started = time.process_time()
    work()
    return 1e3 * (time.process_time() - started)


def one(policy: Policy, update: Update, settings: RftConfig, number: int) -> dict[str, float]:
    """CPU milliseconds of each part of one group, and how far the two gradients differ."""
    groups: list[Group] = []
    readings: dict[str, list[Reading]] = {}
    found = {"draw_ms": cpu_ms(lambda: groups.append(draw(policy, settings, number)))}
    found["reference_ms"] = cpu_ms(lambda: readings.update(shared=update.readings(groups)))
    readings["repeated"] = update.readings(alone(groups[0]))
    gradients = {}
    for name in ("shared", "repeated"):
        found[f"{name}_ms"] = cpu_ms(lambda laid=readings[name]: update.backward(laid, Tally()))
        gradients[name] = gradient(policy)
    gap = (gradients["shared"] - gradients["repeated"]).norm() / gradients["repeated"].norm()
    return {**found, "gradient_gap": float(gap), "thinking_tokens": _mean_thought(groups[0])}


def measure(settings: RftConfig, groups: int) -> dict[str, float]:
    """Medians over groups after a first one that warms up; groups a second, and the ratio of both ways."""
    policy = Policy(settings, torch.device(settings.device))
    policy.follow()
    update = Update(policy, settings)
    rows = [one(policy, update, settings, number) for number in range(groups + 1)][1:]
    found = {name: float(f"{np.median([row[name] for row in rows]):.4g}") for name in rows[0]}
    whole = found["draw_ms"] + found["reference_ms"] + found["shared_ms"]
    ratio = found["repeated_ms"] / found["shared_ms"]
    return {**found, "groups_per_cpu_s": round(1e3 / whole, 2), "repeated_over_shared": round(ratio, 2)}


def _mean_thought(group: Group) -> float:
    return float(np.mean([len(found.thought) for found in group.answers]))


def main() -> None:
    """Parse the command line, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--groups", type=int, default=6)
    parser.add_argument("--mode", choices=MODES, default="fast")
    parser.add_argument("--tokens", type=int, default=44, help="of a thought, at most")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    settings = RftConfig(
        out=Path("."),
        init=args.model,
        data=MixtureConfig(),
        loop=StepsConfig(steps=1),
        grpo=GrpoConfig(group=args.group, prompts=1),
        thinking=ThinkingConfig(args.mode, most_tokens=args.tokens, words=WARM, actions=WARM),
    )
    print(json.dumps(measure(settings, args.groups), indent=1))


if __name__ == "__main__":
    main()
