"""A pygame window with keys; the picture itself comes from ``hud.compose``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pygame

from autovla_core.contracts import Control

STEER_RATE, STEER_RETURN = 1.2, 2.5  # a second
HELP = "space pause   n one step   v view   m take over (arrows)   q quit"


@dataclass
class Keys:
    """What the person at the keyboard asked for."""

    quit: bool = False
    paused: bool = False
    step: bool = False  # one tick while paused; whoever makes it clears it
    camera_large: bool = True
    manual: bool = False


class Window:
    """Shows pictures (H, W, 3) RGB and reads the keyboard. Runs without a screen under SDL's dummy driver."""

    def __init__(self, size: tuple[int, int], title: str = "AutoVLA") -> None:
        pygame.display.init()
        self.surface = pygame.display.set_mode(size)
        pygame.display.set_caption(f"{title}   -   {HELP}")
        self.keys = Keys()
        self._steer = 0.0

    def show(self, rgb: np.ndarray) -> None:
        """Put one picture onto the screen."""
        pygame.surfarray.blit_array(self.surface, np.transpose(rgb, (1, 0, 2)))
        pygame.display.flip()

    def poll(self) -> Keys:
        """Take in what was typed since the last call."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self.keys.quit = True
            elif event.type == pygame.KEYDOWN:
                self._typed(event.key)
        return self.keys

    def manual_control(self, dt: float) -> Control:
        """Control from the arrow keys held now; the wheel turns and returns gradually."""
        held = pygame.key.get_pressed()
        wanted = float(held[pygame.K_LEFT]) - float(held[pygame.K_RIGHT])
        rate = STEER_RATE if wanted else STEER_RETURN
        self._steer += float(np.clip(wanted * 0.7 - self._steer, -rate * dt, rate * dt))
        return Control(self._steer, 0.6 * float(held[pygame.K_UP]), 0.8 * float(held[pygame.K_DOWN]))

    def close(self) -> None:
        """Remove the window."""
        pygame.display.quit()

    def _typed(self, key: int) -> None:
        if key in (pygame.K_q, pygame.K_ESCAPE):
            self.keys.quit = True
        elif key == pygame.K_SPACE:
            self.keys.paused = not self.keys.paused
        elif key == pygame.K_n:
            self.keys.step = True
        elif key == pygame.K_v:
            self.keys.camera_large = not self.keys.camera_large
        elif key == pygame.K_m:
            self.keys.manual = not self.keys.manual
