"""The window shows the picture it is given and hears its keys; here without a screen."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pygame
import pytest

from autovla_core.view.window import BY_HAND, HELP, REQUESTS, SWITCHES, Window


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window((64, 32))
    yield window
    window.close()


def press(*keys: int) -> None:
    for key in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=""))


def write(text: str) -> None:
    for letter in text:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=ord(letter), unicode=letter))


def test_the_surface_holds_the_picture_upright(window):
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:8, 48:] = (250, 10, 20)
    window.show(picture)
    assert window.surface.get_at((60, 2))[:3] == (250, 10, 20)
    assert window.surface.get_at((2, 30))[:3] == (0, 0, 0)


def test_a_saved_picture_is_the_one_that_was_shown(window, tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 255, (32, 64, 3)).astype(np.uint8)
    window.show(picture)
    window.save(tmp_path / "new" / "a.png")
    saved = pygame.surfarray.array3d(pygame.image.load(str(tmp_path / "new" / "a.png"))).transpose(1, 0, 2)
    assert np.array_equal(saved, picture)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.png"], "no partial file is left"


def test_keys_switch_what_they_say(window):
    assert not window.poll().paused
    press(pygame.K_SPACE, pygame.K_v, pygame.K_m, pygame.K_f, pygame.K_h)
    keys = window.poll()
    assert keys.paused and keys.manual and keys.fan and keys.help and not keys.camera_large and not keys.quit
    press(pygame.K_m, pygame.K_SPACE)
    assert not window.poll().paused
    press(pygame.K_q)
    assert window.poll().quit


def test_a_step_is_for_a_pause_and_is_not_stored_for_the_next_one(window):
    press(pygame.K_n, pygame.K_SPACE)
    assert not window.poll().take("step"), "asked for before the pause"
    press(pygame.K_n, pygame.K_n)
    keys = window.poll()
    assert keys.take("step") and keys.paused
    press(pygame.K_SPACE, pygame.K_SPACE)
    keys = window.poll()
    assert keys.paused and not keys.take("step"), "the second one was left over from the pause before"


def test_by_hand_q_is_the_reverse_gear_and_space_the_hand_brake(window, monkeypatch):
    held: set[int] = set()
    monkeypatch.setattr(pygame.key, "get_pressed", lambda: collections.defaultdict(bool, dict.fromkeys(held, True)))
    held |= {pygame.K_SPACE, pygame.K_UP}
    assert not window.hand_brake, "nobody drives by hand"
    press(pygame.K_m, pygame.K_q, pygame.K_SPACE)
    keys = window.poll()
    assert (keys.reverse, keys.quit, keys.paused) == (True, False, False) and window.hand_brake
    control = window.manual_control(0.05)
    assert control.reverse and control.throttle == 0.6
    press(pygame.K_q)
    window.poll()
    assert not window.manual_control(0.05).reverse
    press(pygame.K_q, pygame.K_m, pygame.K_m, pygame.K_TAB)
    keys = window.poll()
    assert keys.manual and keys.paused and not keys.reverse, "forward gear after every take-over; tab pauses"
    press(pygame.K_i)
    window.poll()
    assert not window.hand_brake, "space is a letter now"
    press(pygame.K_ESCAPE, pygame.K_ESCAPE)
    assert window.poll().quit


def test_a_request_counts_as_often_as_it_was_made(window):
    press(pygame.K_o, pygame.K_w, pygame.K_o)
    keys = window.poll()
    assert [keys.take("obstacle") for _ in range(3)] == [True, True, False]
    assert keys.take("weather") and not keys.take("route")


def test_an_instruction_is_typed_mended_and_given(window):
    press(pygame.K_i)
    write("turn lefgh")
    assert window.poll().typing == "turn lefgh", "m, v and q are letters now"
    press(pygame.K_BACKSPACE, pygame.K_BACKSPACE)
    write("t ")
    press(pygame.K_RETURN)
    keys = window.poll()
    assert keys.instruction == "turn left" and keys.typing is None and not keys.manual
    press(pygame.K_i)
    write("q")
    press(pygame.K_ESCAPE)
    keys = window.poll()
    assert keys.instruction and not keys.quit, "escape gives the typing up, not the window"
    press(pygame.K_i, pygame.K_RETURN)
    assert window.poll().instruction == ""


def test_every_key_is_explained():
    names = [name for name, _ in HELP]
    assert len(set(names)) == len(names) == len(SWITCHES) + len(REQUESTS) + len(BY_HAND) + 1
    assert all(text for _, text in HELP)


def test_without_a_key_the_manual_control_is_neutral(window):
    control = window.manual_control(0.05)
    assert (control.steer, control.throttle, control.brake) == (0.0, 0.0, 0.0)
