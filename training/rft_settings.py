"""One recipe of reinforcement fine-tuning as values; the defaults are the paper's where it gives any."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from autovla_core.contracts import PLAN_STEPS, STEP_S
from autovla_core.errors import ConfigError
from autovla_core.model.lora import LoraSpec
from autovla_core.model.sampling import GREEDY, Sampling
from autovla_core.model.thinking import ThinkingConfig
from training.datasets.mixture import MixtureConfig
from training.rewards import RewardConfig
from training.rft_losses import ADVANTAGES
from training.schedule import LoopConfig

WARM = Sampling(temperature=1.0)


@dataclass(frozen=True)
class GrpoConfig:
    """The objective.

    Raises:
        ConfigError: a value that makes no objective.
    """

    group: int = 8  # answers to a prompt; the paper does not say how many
    prompts: int = 16  # a step, over all ranks
    advantage: str = "normalised"  # of ``rft_losses.ADVANTAGES``
    least_spread: float = 1e-6  # of a group's rewards, best minus worst; less: it is dead
    divisor: float | None = None  # of the sum over an answer's choices; None: their number (Dr. GRPO: a constant)
    beta: float = 0.04  # of the KL to the model that training began with; 0: that model is not even kept
    updates: int = 1  # of the weights for each draw
    clip: float = 0.2  # of the ratio; matters from the second update on

    def __post_init__(self) -> None:
        if self.advantage not in ADVANTAGES:
            raise ConfigError(f"grpo.advantage {self.advantage!r}; known: {', '.join(ADVANTAGES)}")
        if self.group < 2:
            raise ConfigError(
                f"grpo.group {self.group}: a group of one has nothing to be compared with; take 2 or more"
            )
        if self.prompts < 1 or self.updates < 1 or self.beta < 0.0 or not 0.0 < self.clip < 1.0:
            raise ConfigError(
                f"grpo: found prompts {self.prompts}, updates {self.updates}, beta {self.beta}, clip {self.clip}; "
                "expected 1 or more, 1 or more, 0 or more, between 0 and 1"
            )
        if not self.least_spread >= 0.0:
            raise ConfigError(f"grpo.least_spread {self.least_spread}: expected 0 or more")
        if self.divisor is not None and not self.divisor > 0.0:
            raise ConfigError(f"grpo.divisor {self.divisor}: expected more than 0, or none")


@dataclass(frozen=True)
class StepsConfig:
    """Length of a run and its optimizer; a step is one draw of answers and its updates."""

    steps: int
    lr: float = 1e-4
    final_lr: float = 1.0  # of lr, by a cosine
    warmup: int = 10  # steps
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0  # norm of the gradient
    save_minutes: float = 3.0
    validate_every: int = 25  # steps

    @property
    def schedule(self) -> LoopConfig:
        """What ``schedule.learning_rate`` reads."""
        return LoopConfig(steps=self.steps, lr=self.lr, final_lr=self.final_lr, warmup=self.warmup)


@dataclass(frozen=True)
class NoiseConfig:
    """Standard deviations of what is added to a prompt's state: as in SFT, or RFT unlearns to live with it."""

    speed: float = 0.0  # m/s
    acceleration: float = 0.0  # m/s2


@dataclass(frozen=True)
class ValidationConfig:
    """Greedy answers to held-out prompts."""

    samples: int = 128
    batch: int = 32
    best: str = "reward"  # the value, higher is better, that says which model is kept
    at_least: dict[str, float] = field(default_factory=dict)  # values that a model must reach to be kept


@dataclass(frozen=True)
class MemoryConfig:
    """How much goes through the model at once; changes nothing but rounding."""

    prompts: int = 16
    answers: int = 128


@dataclass(frozen=True)
class DrivesConfig:
    """Closed loop: the model drives, and at some moments many plans are tried out in forks of the simulator.

    Raises:
        ConfigError: nothing to drive, or futures shorter than a motion or longer than a plan.
    """

    routes: Path  # a route file without scenarios
    held_out: Path  # another one, to choose the model by; a test needs a third
    drives: int = 4  # a step, over all ranks; each gives its share of ``grpo.prompts``
    held_out_drives: int = 8
    traffic: int = 20  # other cars
    seconds: float = 5.0  # of a future
    every_s: float = 1.5  # between two moments of a drive
    latest_s: float = 6.0  # the first moment is by chance between the first second and this one
    rig: str = "front"
    server_threads: int = 1

    def __post_init__(self) -> None:
        if min(self.drives, self.held_out_drives) < 1 or self.traffic < 0:
            raise ConfigError(
                f"drives: found drives {self.drives}, held_out_drives {self.held_out_drives}, traffic {self.traffic}; "
                "expected 1 or more, 1 or more, 0 or more"
            )
        if not STEP_S <= self.seconds <= PLAN_STEPS * STEP_S or not self.every_s > 0.0 or not self.latest_s >= 1.0:
            raise ConfigError(
                f"drives: found seconds {self.seconds}, every_s {self.every_s}, latest_s {self.latest_s}; "
                f"expected {STEP_S} to {PLAN_STEPS * STEP_S}, more than 0, 1 or more"
            )


@dataclass(frozen=True)
class RftConfig:
    """One recipe file.

    Raises:
        ConfigError: answers that would all be the same, depend on a clock, or that only one of two models can give.
    """

    out: Path
    init: Path  # the model folder to start from: SFT's
    data: MixtureConfig  # of recorded scenes; unused with ``drives``
    loop: StepsConfig
    grpo: GrpoConfig = GrpoConfig()
    reward: RewardConfig = RewardConfig()
    thinking: ThinkingConfig = ThinkingConfig("adaptive", words=WARM, actions=WARM)
    lora: LoraSpec | None = None  # None: all weights of the language model; the vision tower is always frozen
    noise: NoiseConfig = NoiseConfig()
    validation: ValidationConfig = ValidationConfig()
    memory: MemoryConfig = MemoryConfig()
    drives: DrivesConfig | None = None  # training.rft_closed_loop
    seed: int = 0
    threads: int = 2
    device: str = "cpu"  # cpu or cuda
    tensorboard: bool = False  # log.jsonl as curves too; needs the package tensorboard

    def __post_init__(self) -> None:
        if self.drives and self.grpo.prompts % self.drives.drives:
            raise ConfigError(f"grpo.prompts {self.grpo.prompts} cannot be shared by {self.drives.drives} drives")
        words = self.thinking.mode != "fast" and self.thinking.words.greedy
        if words or self.thinking.actions.greedy:
            raise ConfigError(
                "thinking: words and actions must be drawn by chance; give them a temperature (paper: 1.0)"
            )
        if not (self.thinking.words.whole and self.thinking.actions.whole):
            raise ConfigError(
                "thinking: top_k and top_p cut off other tokens in each model, so the KL to the reference and the "
                "ratio of two updates are infinite; take them out and draw by temperature alone"
            )
        if self.thinking.deadline_ms is not None:
            raise ConfigError("thinking.deadline_ms: answers that depend on a clock cannot be drawn twice; take it out")

    @property
    def greedy(self) -> ThinkingConfig:
        """How the model answers when it is validated."""
        return replace(self.thinking, words=GREEDY, actions=GREEDY)
