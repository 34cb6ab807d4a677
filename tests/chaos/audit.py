"""
What bodies really did, whatever became of it: a file for each process, in a folder of the run.

Lines are appended with one write each, so they outlive the process that wrote them and need no
database. Afterwards all of them are brought into tables, for SQL to compare with what the engine
says.
"""

import json
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "CHAOS_FOLDER"
"""The environment variable that tells a process where the folder is."""


@dataclass(frozen=True, slots=True)
class Made:
    """The value of every asset: which start of a body returned it, made from which others."""

    token: str
    attempt: int
    inputs: list[str] = field(default_factory=list)
    payload: object = None
    filler: str = ""


class Audit:
    """The file of this process."""

    def __init__(self, folder: Path) -> None:
        self._measuring = folder / "measuring"
        self._file = folder / f"audit-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
        self._handle: int | None = None
        self._lock = threading.Lock()

    @classmethod
    def of_this_process(cls) -> "Audit":
        """Return the one that the environment names."""
        return cls(Path(os.environ[FOLDER]))

    @property
    def is_measured(self) -> bool:
        """Whether the throughput is being measured: no body takes a worker's slots from it then."""
        return self._measuring.exists()

    def begin_measuring(self) -> None:
        """Let all processes know."""
        self._measuring.touch()

    def end_measuring(self) -> None:
        self._measuring.unlink()

    def write(self, what: str, **facts: object) -> None:
        line = json.dumps({"what": what, "pid": os.getpid(), **facts}).encode() + b"\n"
        with self._lock:
            if self._handle is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._handle = os.open(self._file, flags, 0o600)
            os.write(self._handle, line)

    @contextmanager
    def item(self, materialization_id: int, item: object) -> Iterator[str]:
        """Write down that an attempt at an item of a scatter begins, and how it ends."""
        token, outcome = secrets.token_hex(8), "raised"
        began = {"token": token, "materialization": materialization_id, "item": item}
        self.write("item", at=time.monotonic(), **began)
        try:
            yield token
            outcome = "value"
        finally:
            self.write("end", token=token, at=time.monotonic(), outcome=outcome)

    def telemetry(
        self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        """Write an event down; a handler of the application's telemetry."""
        self.write("event", event=event, count=measurements.get("count", 1), facts=dict(metadata))


@dataclass(slots=True)
class Story:
    """All files of a folder, read."""

    starts: list[dict[str, object]] = field(default_factory=list)
    items: list[dict[str, object]] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    registrations: Counter[object] = field(default_factory=Counter)

    @property
    def workers_given_up(self) -> int:
        """How often a worker process was taken for dead, and registered again."""
        theirs = [count for pid, count in self.registrations.items() if pid != os.getpid()]
        return sum(count - 1 for count in theirs)


def read(folder: Path) -> Story:
    story = Story()
    for line in _lines(folder):
        match line["what"]:
            case "start":
                story.starts.append(line)
            case "item":
                story.items.append(line)
            case "end":
                token = str(line["token"])
                story.outcomes[token] = str(line["outcome"])
                story.ended[token] = float(str(line["at"]))
            case "event":
                if line["event"] == "flowstone.worker.start":
                    story.registrations[line["pid"]] += 1
                story.events[str(line["event"])] += int(str(line["count"]).partition(".")[0])
    return story


def _lines(folder: Path) -> Iterator[dict[str, object]]:
    for file in sorted(folder.glob("audit-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
