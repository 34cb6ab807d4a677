"""
What an environment does to every start of its Python: ``.pth`` files, and the time that they take.

Source: the documentation of the module ``site``.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from flowstone.cli.demo.file_names import one_line, to_text
from flowstone.cli.demo.records import Startup, StartupFile

_STARTS = 5
_LIMIT_SECONDS = 20.0
_MOST_LINES = 20


class CannotStartError(RuntimeError):
    """This Python cannot start itself: no known executable, or one that fails."""


async def measure_startup(executable: str, folders: Sequence[Path]) -> Startup:
    """
    Read the ``.pth`` files and time some starts, with the site folders and without, in turn.

    Raises:
        CannotStartError: The executable is not known or does not run ``pass``.
    """
    with_site: list[int] = []
    without_site: list[int] = []
    for _ in range(_STARTS):
        with_site.append(await _start(executable, "-E"))
        without_site.append(await _start(executable, "-ES"))
    return Startup(
        files=startup_files(folders),
        with_site_us=round(statistics.median(with_site)),
        without_site_us=round(statistics.median(without_site)),
    )


def startup_files(folders: Sequence[Path]) -> tuple[StartupFile, ...]:
    """The ``.pth`` files in the order in which ``site`` reads them; hidden ones are not read."""
    return tuple(
        _startup_file(path)
        for folder in folders
        for path in sorted(folder.glob("*.pth"))
        if not path.name.startswith(".")
    )


def _startup_file(path: Path) -> StartupFile:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        lines = []
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    code = [line for line in lines if line.startswith(("import ", "import\t"))]
    return StartupFile(
        name=to_text(path.name),
        code=tuple(one_line(line) for line in code[:_MOST_LINES]),
        folders=tuple(one_line(line) for line in lines if line not in code)[:_MOST_LINES],
    )


async def _start(executable: str, options: str) -> int:
    """Microseconds from asking for a process to its end."""
    started = time.perf_counter()
    try:
        process = await asyncio.create_subprocess_exec(
            executable,
            options,
            "-c",
            "pass",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise CannotStartError(f"{executable or 'no executable'}: {error}") from error
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            code = await process.wait()
    except TimeoutError as error:
        raise CannotStartError(f"{executable} takes over {_LIMIT_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        raise CannotStartError(f"{executable} ends with code {code}")
    return round((time.perf_counter() - started) * 1_000_000)
