"""What happened when: the faults, the deaths and the complaints of one stretch of chaos."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Entry:
    """Something that happened; times are Unix seconds, ``ended`` is None for an instant."""

    what: str
    detail: str
    began: float
    ended: float | None = None


@dataclass(slots=True)
class Journal:
    """
    The entries, in their order; each is appended to a file as it is made.

    Attributes:
        faults: What was done on purpose.
        complaints: What nobody had asked for: a worker that ended by itself, an error at a client
            that is not the database's. Each is a violation.
    """

    file: Path
    is_loud: bool = False
    faults: list[Entry] = field(default_factory=list)
    complaints: list[Entry] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def fault(self, name: str, began: float, detail: str) -> None:
        self.faults.append(Entry(name, detail, began, time.time()))
        self._write("fault", self.faults[-1])

    def complain(self, what: str, detail: str) -> None:
        self.complaints.append(Entry(what, detail, time.time()))
        self._write("complaint", self.complaints[-1])

    def note(self, what: str, detail: str = "") -> None:
        self._write("note", Entry(what, detail, time.time()))

    def near(self, moment: float, seconds: float = 8.0) -> list[str]:
        """Return the faults that were under way around a moment."""
        return [
            f"{entry.began - self.began:.1f}s {entry.what}: {entry.detail}"
            for entry in self.faults
            if entry.began - seconds <= moment <= (entry.ended or entry.began) + seconds
        ]

    def _write(self, kind: str, entry: Entry) -> None:
        at = entry.began - self.began
        lasted = None if entry.ended is None else round(entry.ended - entry.began, 2)
        line = {"at": round(at, 2), "kind": kind, "what": entry.what, "detail": entry.detail}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "lasted": lasted}) + "\n")
        if self.is_loud and entry.what != "client":
            print(f"{at:7.1f}s  {entry.what}  {entry.detail}", flush=True)
