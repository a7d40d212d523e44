"""The window shows the picture it is given and hears its keys; here without a screen."""

from __future__ import annotations

import numpy as np
import pygame
import pytest

from autovla_core.view.window import Window


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window((64, 32))
    yield window
    window.close()


def press(key: int) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_the_surface_holds_the_picture_upright(window):
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:8, 48:] = (250, 10, 20)
    window.show(picture)
    assert window.surface.get_at((60, 2))[:3] == (250, 10, 20)
    assert window.surface.get_at((2, 30))[:3] == (0, 0, 0)


def test_keys_switch_what_they_say(window):
    assert not window.poll().paused
    for key in (pygame.K_SPACE, pygame.K_v, pygame.K_m, pygame.K_n):
        press(key)
    keys = window.poll()
    assert keys.paused and keys.manual and keys.step and not keys.camera_large and not keys.quit
    press(pygame.K_SPACE)
    assert not window.poll().paused
    press(pygame.K_q)
    assert window.poll().quit


def test_without_a_key_the_manual_control_is_neutral(window):
    control = window.manual_control(0.05)
    assert (control.steer, control.throttle, control.brake) == (0.0, 0.0, 0.0)
