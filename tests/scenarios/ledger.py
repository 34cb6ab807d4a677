"""
What bodies really did, whatever became of it: a folder that a test shares with its processes.

The ledger is a file that bodies append a line to, so it outlives the process that wrote it and
works while the database does not. A gate is a file that a body waits for, so a test decides how
long a body takes.
"""

import asyncio
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from flowstone import Context, JobContext

FOLDER = "SCENARIO_FOLDER"
"""The environment variable that tells a process where the folder is."""

GATE_SECONDS = 240.0
"""No body outlives its test for longer, however the test ended."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a body; the token is in the value that it returns, and in no other."""

    materialization: int
    asset: str
    attempt: int
    token: str
    pid: int


class Ledger:
    """The folder, seen from the test and from its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._starts = folder / "starts.jsonl"

    @classmethod
    def of_this_process(cls) -> "Ledger":
        """Return the one that the environment names."""
        return cls(Path(os.environ[FOLDER]))

    def begin(self, ctx: Context | JobContext) -> Start:
        """Write down that a body begins; one write, so lines of several processes do not mix."""
        is_job = isinstance(ctx, JobContext)
        id_, name = (ctx.job_id, ctx.job) if is_job else (ctx.materialization_id, ctx.asset)
        start = Start(id_, name, ctx.attempt, secrets.token_hex(8), os.getpid())
        handle = os.open(self._starts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, json.dumps(asdict(start)).encode() + b"\n")
        finally:
            os.close(handle)
        return start

    def starts(self, asset: str | None = None) -> list[Start]:
        """Return the starts in their order, of one asset or of all."""
        if not self._starts.exists():
            return []
        # The last one may be about to be written.
        whole, _, _ = self._starts.read_text(encoding="utf-8").rpartition("\n")
        found = [Start(**json.loads(line)) for line in whole.splitlines()]
        return [start for start in found if asset in (None, start.asset)]

    def has_starts(self, count: int) -> bool:
        """Return whether there are so many, or more."""
        return len(self.starts()) >= count

    def open_gate(self, name: str) -> None:
        """Let everybody through, now and later."""
        (self.folder / f"{name}.gate").touch()

    def is_open(self, name: str) -> bool:
        return (self.folder / f"{name}.gate").exists()

    async def pass_gate(self, name: str) -> None:
        """Wait until the gate is open."""
        deadline = time.monotonic() + GATE_SECONDS
        while not self.is_open(name) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def pass_gate_in_thread(self, name: str, ctx: Context | JobContext) -> None:
        """Wait until the gate is open or somebody asks for a stop."""
        deadline = time.monotonic() + GATE_SECONDS
        while not (self.is_open(name) or ctx.is_cancelled()) and time.monotonic() < deadline:
            time.sleep(0.01)
