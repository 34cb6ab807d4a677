"""
What one trial measured, as a line of JSON between its process and the one that started it.

Standard library only: peers import it in environments that have nothing of ours.
"""

import argparse
import json
import resource
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path


class TrialError(Exception):
    """
    A trial has no figure to give; its message says why.

    Raised in a trial when the database does not confirm the work, and by the parent when the
    process failed, ran out of time, or answered with something else.
    """


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure; the unit is words for people, such as `jobs/s`."""

    metric: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class TrialReport:
    """The figures of one trial, with the version and the settings that they belong to."""

    version: str
    settings: str
    measurements: tuple[Measurement, ...]

    def to_line(self) -> str:
        """Encode as one line: `{"version", "settings", "measurements": [...]}`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_output(cls, output: str) -> "TrialReport":
        """
        Decode the last line of a trial's output; what a library printed before it is ignored.

        Raises:
            TrialError: There is no such line.
        """
        last_line = output.strip().rpartition("\n")[2]
        try:
            document = json.loads(last_line)
            measurements = tuple(
                Measurement(str(item["metric"]), float(item["value"]), str(item["unit"]))
                for item in document["measurements"]
            )
            return cls(str(document["version"]), str(document["settings"]), measurements)
        except (ValueError, TypeError, KeyError) as error:
            message = f"its last line is not a report: {last_line[:200]!r}"
            raise TrialError(message) from error


def report(distribution: str, settings: str, *measurements: Measurement) -> None:
    """Print a trial's report; the version is that of the installed distribution."""
    print(TrialReport(version(distribution), settings, measurements).to_line())


def trial_arguments(description: str | None, phases: tuple[str, ...]) -> argparse.ArgumentParser:
    """Build the parser that every trial has: PHASE --dsn DSN --count N."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("phase", choices=phases)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--count", type=int, required=True)
    return parser


def require_count(actual: int, expected: int, state: str) -> None:
    """
    Check a count that came from SQL.

    Raises:
        TrialError: Another number of rows is in that state.
    """
    if actual != expected:
        message = f"{actual} of {expected} are {state}"
        raise TrialError(message)


def peak_rss() -> Measurement:
    """
    Measure the peak resident memory of this process so far.

    Linux carries `ru_maxrss` over an exec, so that it may be the parent's; VmHWM is not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return Measurement("rss_mb", int(line.split()[1]) / 1024, "MB")
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
    return Measurement("rss_mb", peak_bytes / 2**20, "MB")
