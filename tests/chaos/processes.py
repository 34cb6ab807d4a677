"""What the kernel knows about processes of ours."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started itself."""
    with suppress(*GONE):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(it) for task in tasks for it in (task / "children").read_text().split()]
    return []


def with_environment(name: str, value: str) -> Iterator[tuple[int, str]]:
    """Yield id and command of whatever runs and was started with this variable."""
    wanted = f"{name}={value}".encode()
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with suppress(*GONE):
                if wanted in (place / "environ").read_bytes().split(b"\0"):
                    words = (place / "cmdline").read_bytes().split(b"\0")
                    yield int(place.name), b" ".join(words).decode(errors="replace")
