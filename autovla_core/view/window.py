"""A pygame window with keys; the picture itself comes from ``hud.compose``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pygame

from autovla_core.contracts import Control

STEER_RATE, STEER_RETURN = 1.2, 2.5  # a second
LONGEST_TEXT = 200  # of an instruction

SWITCHES: Mapping[int, tuple[str, str, str]] = {  # key: its name, the field of ``Keys``, what it does
    pygame.K_SPACE: ("space", "paused", "pause, go on"),
    pygame.K_TAB: ("tab", "paused", "the same, also while you drive by hand"),
    pygame.K_v: ("v", "camera_large", "street or the model's own images"),
    pygame.K_m: ("m", "manual", "take over by hand with the arrow keys"),
    pygame.K_f: ("f", "fan", "the fan of plans it might have made"),
    pygame.K_h: ("h", "help", "this list"),
    pygame.K_q: ("q", "quit", "quit"),
    pygame.K_ESCAPE: ("esc", "quit", "the same, also while you drive by hand"),
}
REQUESTS: Mapping[int, tuple[str, str, str]] = {  # key: its name, the request, what it does
    pygame.K_n: ("n", "step", "one step while paused"),
    pygame.K_s: ("s", "pace", "slow motion: 1/2, 1/4, real time"),
    pygame.K_t: ("t", "mode", "think fast, slow, as the model likes, as configured"),
    pygame.K_w: ("w", "weather", "the next weather"),
    pygame.K_o: ("o", "obstacle", "put an obstacle onto the route ahead"),
    pygame.K_r: ("r", "route", "the next route"),
    pygame.K_p: ("p", "picture", "save this picture"),
}
BY_HAND: Mapping[int, tuple[str, str]] = {  # what keys are, as in CARLA's manual_control, while a person drives
    pygame.K_q: ("m: q", "by hand: reverse gear, forward gear"),
    pygame.K_SPACE: ("m: space", "by hand: hand brake, as long as it is held"),
}
TYPE, STEP = pygame.K_i, "step"
HELP = [
    *((name, text) for name, _, text in (*SWITCHES.values(), *REQUESTS.values())),
    ("i", "type an instruction; Enter gives it, empty takes it back"),
    *BY_HAND.values(),
]


@dataclass
class Keys:
    """What the person at the keyboard asked for."""

    quit: bool = False
    paused: bool = False
    camera_large: bool = True
    manual: bool = False
    reverse: bool = False  # gear of the person who drives
    fan: bool = False
    help: bool = False
    asked: list[str] = field(default_factory=list)  # names of ``REQUESTS``, one for each time
    typing: str | None = None  # the instruction as typed so far; None: the keys are keys
    instruction: str = ""  # the last one that was given

    def take(self, request: str) -> bool:
        """Whether it was asked for; that counts as done from now on."""
        found = request in self.asked
        if found:
            self.asked.remove(request)
        return found


class Window:
    """Shows pictures (H, W, 3) RGB and reads the keyboard. Runs without a screen under SDL's dummy driver."""

    def __init__(self, size: tuple[int, int], title: str = "AutoVLA") -> None:
        pygame.display.init()
        self.surface = pygame.display.set_mode(size)
        pygame.display.set_caption(f"{title}   -   h: keys")
        self.keys = Keys()
        self._steer = 0.0

    def show(self, rgb: np.ndarray) -> None:
        """Put one picture onto the screen."""
        pygame.surfarray.blit_array(self.surface, np.transpose(rgb, (1, 0, 2)))
        pygame.display.flip()

    def save(self, file: Path) -> None:
        """What the window shows, as PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.stem}.partial.png")
        pygame.image.save(self.surface, str(partial))
        partial.replace(file)

    def poll(self) -> Keys:
        """Take in what was typed since the last call."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.keys.quit = True
            elif event.type == pygame.KEYDOWN and self.keys.typing is not None:
                self._written(event.key, event.unicode)
            elif event.type == pygame.KEYDOWN:
                self._pressed(event.key)
        return self.keys

    def manual_control(self, dt: float) -> Control:
        """Control from the arrow keys held now, in the gear chosen; the wheel turns and returns gradually."""
        held = pygame.key.get_pressed()
        wanted = float(held[pygame.K_LEFT]) - float(held[pygame.K_RIGHT])
        rate = STEER_RATE if wanted else STEER_RETURN
        self._steer += float(np.clip(wanted * 0.7 - self._steer, -rate * dt, rate * dt))
        throttle, brake = 0.6 * float(held[pygame.K_UP]), 0.8 * float(held[pygame.K_DOWN])
        return Control(self._steer, throttle, brake, self.keys.reverse)

    @property
    def hand_brake(self) -> bool:
        """Whether the person who drives holds it."""
        return self.keys.manual and self.keys.typing is None and bool(pygame.key.get_pressed()[pygame.K_SPACE])

    def close(self) -> None:
        """Remove the window."""
        pygame.display.quit()

    def _pressed(self, key: int) -> None:
        keys = self.keys
        if keys.manual and key in BY_HAND:
            keys.reverse ^= key == pygame.K_q
        elif key in SWITCHES:
            name = SWITCHES[key][1]
            setattr(keys, name, not getattr(keys, name))
            keys.reverse &= keys.manual  # who takes over again begins in forward gear
        elif key in REQUESTS:
            keys.asked.append(REQUESTS[key][1])
        elif key == TYPE:
            keys.typing = ""
        if not keys.paused:  # a step is for a pause; stored, it would make the next pause a jump
            keys.asked = [request for request in keys.asked if request != STEP]

    def _written(self, key: int, text: str) -> None:
        keys = self.keys
        if key == pygame.K_ESCAPE:
            keys.typing = None
        elif key in (pygame.K_RETURN, pygame.K_KP_ENTER):
            keys.instruction, keys.typing = keys.typing.strip(), None
        elif key == pygame.K_BACKSPACE:
            keys.typing = keys.typing[:-1]
        elif text.isprintable():
            keys.typing = (keys.typing + text)[:LONGEST_TEXT]
