"""Processes of a test: started, paused, killed, and gone when the test is over, however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowstone.core.loop_watch import HUNG_EXIT_CODE
from tests.scenarios.eventually import eventually
from tests.scenarios.ledger import FOLDER

ROOT = Path(__file__).parents[2]


class Spawned:
    """One process; its output is in ``log``."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._killed = False
        self.log = log
        self.pid = process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def has_crashed(self) -> bool:
        """Whether it ended as nobody had asked it to."""
        return not self._killed and self._process.poll() not in (None, 0)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._killed = True
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it in its tracks; returns when it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def ask_to_stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def killed_itself(self) -> None:
        """Wait for it to die by what it runs, which is expected of it."""
        await eventually(lambda: self.has_ended)
        self._killed = self._process.returncode in (
            -signal.SIGKILL,
            -signal.SIGABRT,
            HUNG_EXIT_CODE,
        )

    async def exit_code(self, *, within: float = 60.0) -> int:
        """Wait for its end; a signal's number is negative."""
        await eventually(lambda: self.has_ended, within=within)
        return self._process.returncode

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def close(self) -> None:
        """End it, paused or not, and let go of it."""
        if not self.has_ended:
            self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()


class Spawner:
    """Starts modules of ``tests.scenarios.processes``, each with one JSON argument."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spawned: list[Spawned] = []

    def start(self, module: str, argument: Mapping[str, object], *, code: Path = ROOT) -> Spawned:
        """
        Start ``python -m tests.scenarios.processes.<module>``; it ends with this process.

        Args:
            code: The folder that has ``flowstone``, ``sql`` and ``tests``.
        """
        log = self._folder / f"{module}-{len(self._spawned)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-X", "faulthandler"),
                    *("-m", f"tests.scenarios.processes.{module}", json.dumps(argument)),
                ],
                cwd=code,
                env={**os.environ, FOLDER: str(self._folder)},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        spawned = Spawned(process, log)
        self._spawned.append(spawned)
        return spawned

    def worker(
        self,
        dsn: str,
        *pipelines: str,
        slots: int = 4,
        schema: str = "flowstone",
        code: Path = ROOT,
        queues: Sequence[str] = (),
        **options: float | bool,
    ) -> Spawned:
        """
        Start a worker that knows these pipelines; durations among its options are seconds.

        Args:
            queues: Those that it serves, each with so many slots; none is the default one.
        """
        place = {"dsn": dsn, "schema": schema}
        given = {**place, "pipelines": pipelines, "slots": slots, "options": options}
        if queues:
            given["queues"] = queues
        # It takes a wish to stop that comes before its handler does once it has that.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return self.start("worker", given, code=code)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """
        End all of them, and print what they said: pytest shows it when the test failed.

        Raises:
            AssertionError: One had ended by itself, and not well.
        """
        crashed = [spawned.log.name for spawned in self._spawned if spawned.has_crashed]
        for spawned in self._spawned:
            spawned.close()
        for spawned in self._spawned:
            print(f"--- {spawned.log.name} (pid {spawned.pid})\n{spawned.output()}")
        assert crashed == []


@contextmanager
def spawning(folder: Path) -> Iterator[Spawner]:
    spawner = Spawner(folder)
    try:
        yield spawner
    finally:
        spawner.close()
