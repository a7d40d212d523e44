"""The recorder and the replayer of one simulation: at most one recording and one replay at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from autovla_core.minicarla.recorder import frames, log_file
from autovla_core.minicarla.recorder.log_file import Reader, RecordingError, Writer
from autovla_core.minicarla.recorder.replayer import Replay, ReplayOptions
from autovla_core.minicarla.world.world import World

logger = logging.getLogger(__name__)

MOST_FILES = 1000
DEFAULT_FOLDER = Path("minicarla_recordings")


@dataclass(eq=False)
class _Recording:
    writer: Writer
    started_s: float
    known: set[int]


class Recordings:
    """What the recorder's calls act on; files lie in ``folder`` and nowhere else."""

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.folder = folder
        self.time_factor = 1.0
        self.ignore_hero = False
        self.ignore_spectator = False
        self._recording: _Recording | None = None
        self._replay: Replay | None = None

    def start(self, world: World, name: str) -> Path:
        """Record from now on; a recording under way is finished first.

        Raises:
            RecordingError: the name is not allowed, or this file or the one before cannot be written.
        """
        path = log_file.path_of(self.folder, name)
        self.stop()
        if sum(1 for _ in self.folder.rglob("*")) >= MOST_FILES and not path.exists():
            raise RecordingError(f"{self.folder} holds {MOST_FILES} files, the most; delete some")
        header = {"town": world.town.name, "frame": world.frame}
        self._recording = _Recording(Writer(path, header), world.time, set())
        self.record(world)
        return path

    def record(self, world: World) -> None:
        """Write the present tick, if something is being recorded."""
        recording = self._recording
        if recording is None:
            return
        frame = frames.take(world, recording.started_s, recording.known)
        recording.known = set(frame.ids.tolist())
        try:
            recording.writer.write(frames.pack(frame))
        except RecordingError as error:
            logger.warning("%s; it ends here", error)
            self._finish()
            return
        if recording.writer.is_full:
            logger.warning(
                "recording %s has %d bytes, the most, and ends", recording.writer.path, log_file.MOST_FILE_BYTES
            )
            self._finish()

    def stop(self) -> None:
        """Finish the recording; without one nothing happens.

        Raises:
            RecordingError: its last ticks cannot be written; it has ended all the same.
        """
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.writer.close()

    def _finish(self) -> None:
        """Stop where nobody waits for an answer: a full disk must hold up neither ticks nor the server's end."""
        try:
            self.stop()
        except RecordingError as error:
            logger.warning("%s", error)

    # ---- replay

    @property
    def replays(self) -> bool:
        """Whether a replay is under way."""
        return self._replay is not None

    def replay(self, world: World, name: str, options: ReplayOptions) -> str:
        """Let a recording drive its actors from the next tick on; return a sentence about it.

        Raises:
            RecordingError: no such recording, or one of another town.
        """
        reader = Reader(log_file.path_of(self.folder, name))
        try:
            if reader.header.get("town") != world.town.name:
                raise RecordingError(
                    f"{name!r} was recorded in {reader.header.get('town')}; the world is {world.town.name}: "
                    "load_world first"
                )
            replay = Replay(reader, options, self.ignore_hero)
        except RecordingError:
            reader.close()
            raise
        self.stop_replay(world, keep_actors=False)
        self._replay = replay
        return f"Replaying file: {name} (from {replay.start_s:.2f} s)"

    def advance_replay(self, world: World, dt: float) -> None:
        """Before a tick: put the replayed actors where they were at the tick's end."""
        if self._replay is None:
            return
        try:
            goes_on = self._replay.advance(world, dt * self.time_factor, follow=not self.ignore_spectator)
        except RecordingError as error:
            logger.warning("the replay ends: %s", error)
            goes_on = False
        if not goes_on:
            self.stop_replay(world, keep_actors=True)

    def stop_replay(self, world: World, keep_actors: bool) -> None:
        """End the replay; its actors become ordinary ones again, or go."""
        if self._replay is not None:
            replay, self._replay = self._replay, None
            replay.end(world, keep_actors)

    def forget(self) -> None:
        """The world is another one: finish the recording, drop the replay without touching actors."""
        self._finish()
        if self._replay is not None:
            self._replay.close()
            self._replay = None

    def reader(self, name: str) -> Reader:
        """Open a recording to look into it.

        Raises:
            RecordingError: no such recording.
        """
        return Reader(log_file.path_of(self.folder, name))
