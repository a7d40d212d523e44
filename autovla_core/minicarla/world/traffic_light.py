"""Traffic lights that take turns, junction by junction: green, yellow, all red, next phase."""

from __future__ import annotations

from collections.abc import Iterable

from autovla_core.minicarla.world.actor import LightColor, TrafficLight

STAGES = (LightColor.GREEN, LightColor.YELLOW, LightColor.RED)
OFFSET_S = 7.3  # junctions start this much apart, so that the town does not switch at once


class LightGroup:
    """All lights of one junction. One phase has the way; the times are those of its first light."""

    def __init__(self, lights: list[TrafficLight]) -> None:
        self.lights = lights
        self._leaders = {light.phase: light for light in reversed(lights)}
        self._phases = sorted(self._leaders)
        self._turn, self._stage, self._elapsed = 0, 0, 0.0
        self.reset()

    @property
    def cycle_s(self) -> float:
        """Length of one round of all phases."""
        return sum(self._duration(phase, stage) for phase in self._phases for stage in range(len(STAGES)))

    def reset(self) -> None:
        """Start again with the first phase's green."""
        self._turn, self._stage, self._elapsed = 0, 0, 0.0
        self._show()

    def step(self, dt: float) -> None:
        """Let time pass; one frozen light stops the clock of all.

        A light that somebody set by hand keeps its colour until the group's next change.
        """
        for light in self.lights:  # a loop: any() of a generator takes three times as long, every tick
            if light.frozen:
                return
        self._elapsed += dt
        changed = False
        while self._elapsed >= self._duration(self._phases[self._turn], self._stage) - 1e-9:
            self._elapsed -= self._duration(self._phases[self._turn], self._stage)
            self._stage = (self._stage + 1) % len(STAGES)
            if self._stage == 0:
                self._turn = (self._turn + 1) % len(self._phases)
            changed = True
        if changed:
            self._show()
        for light in self.lights:
            light.elapsed_time = self._elapsed

    def _duration(self, phase: int, stage: int) -> float:
        light = self._leaders[phase]
        return max((light.green_time, light.yellow_time, light.red_time)[stage], 0.05)

    def _show(self) -> None:
        for light in self.lights:
            has_way = light.phase == self._phases[self._turn]
            light.state = STAGES[self._stage] if has_way else LightColor.RED
            light.elapsed_time = self._elapsed


class LightControl:
    """The lights of the town."""

    def __init__(self, lights: Iterable[TrafficLight]) -> None:
        self.lights = list(lights)
        by_group: dict[int, list[TrafficLight]] = {}
        for light in self.lights:
            by_group.setdefault(light.group, []).append(light)
        self._groups = {number: LightGroup(members) for number, members in sorted(by_group.items())}
        self.reset_all()

    def reset(self, group: int) -> None:
        """Start one junction's cycle again.

        Raises:
            KeyError: if the town has no such group.
        """
        self._groups[group].reset()

    def step(self, dt: float) -> None:
        """Let time pass everywhere."""
        for group in self._groups.values():
            group.step(dt)

    def reset_all(self) -> None:
        """Start every cycle again, each with its own fixed offset."""
        for number, group in self._groups.items():
            for light in group.lights:
                light.frozen = False
            group.reset()
            group.step((number * OFFSET_S) % group.cycle_s)
