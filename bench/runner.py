"""
Run contestants in turn, round after round, each trial in a process and on a database of its own.

A round visits every contestant once and the next round goes back the same way, so that ours and
the peers alternate and a machine that warms up or slows down favors nobody. A peer that fails is
left out with its reason, whatever it had measured before. The time of a commit is sampled before
each, because a disk that others use may be ten times slower a minute later.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peer_environment import (
    LEAST_PYTHON,
    ensure_node_environment,
    ensure_peer_environment,
)
from bench.server import Server
from bench.trial import Measurement, TrialError, TrialReport

OURS = "flowstone"
SERVER = "server"
TRIAL_SECONDS = 180
REPOSITORY = Path(__file__).resolve().parent.parent

# Settings of a driver or a peer in our environment would not be the ones that we report.
_FOREIGN_PREFIXES = ("PG", "PROCRASTINATE_", "DBOS_", "OBAN_", "GRAPHILE_", "FLOWSTONE_")


@dataclass(frozen=True, slots=True)
class Phase:
    """One process: the script's `name --dsn DSN --count N`; not counted when it only prepares."""

    name: str
    count: int
    is_counted: bool = True
    seconds: int = TRIAL_SECONDS


@dataclass(frozen=True, slots=True)
class Contestant:
    """
    A system's part in a benchmark.

    Attributes:
        script: A module of ours for Python, or the path of a script for Node (`.mjs`).
        episodes: Each is a fresh database and the phases that follow one another on it.
        packages: What pip or npm installs for it, the latter also its Node; empty for ours, which
            runs with this interpreter.
        least_python: What it needs, where that is more than we do.
    """

    system: str
    script: str
    episodes: tuple[tuple[Phase, ...], ...]
    packages: tuple[str, ...] = ()
    least_python: tuple[int, int] = LEAST_PYTHON

    @property
    def is_for_node(self) -> bool:
        """Whether Node runs it, and not Python."""
        return self.script.endswith(".mjs")


@dataclass(slots=True)
class Outcome:
    """What all rounds gave: samples by (system, metric), and who was left out."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    units: dict[tuple[str, str], str] = field(default_factory=dict)
    systems: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, system: str, report: TrialReport) -> None:
        self.systems[system] = {"version": report.version, "settings": report.settings}
        for measurement in report.measurements:
            self.sample(system, measurement)

    def sample(self, system: str, measurement: Measurement) -> None:
        key = (system, measurement.metric)
        self.units[key] = measurement.unit
        self.samples.setdefault(key, []).append(measurement.value)

    def leave_out(self, system: str, reason: str) -> None:
        self.left_out[system] = reason
        self.systems.pop(system, None)
        for key in [key for key in self.samples if key[0] == system]:
            del self.samples[key]


def run_rounds(
    server: Server,
    contestants: Sequence[Contestant],
    rounds: int,
    narrate: Callable[[str], None],
) -> Outcome:
    """
    Run every contestant once a round and collect what they measured.

    Raises:
        TrialError: A trial of ours failed.
    """
    outcome = Outcome()
    interpreters = _prepare(contestants, outcome, narrate)
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            system = contestant.system
            if system in outcome.left_out:
                continue
            outcome.sample(SERVER, Measurement("commit_ms_p50", server.commit_ms(), "ms"))
            try:
                for phase, report in _run_episodes(server, contestant, interpreters[system]):
                    figures = "  ".join(
                        f"{item.metric} {item.value:,.1f}" for item in report.measurements
                    )
                    narrate(f"round {number + 1}  {system} {phase.name}: {figures}")
                    outcome.add(system, report)
            except TrialError as error:
                if system == OURS:
                    raise
                narrate(f"{system} is left out: {error}")
                outcome.leave_out(system, str(error))
    return outcome


def _prepare(
    contestants: Sequence[Contestant], outcome: Outcome, narrate: Callable[[str], None]
) -> dict[str, Path]:
    interpreters = {OURS: Path(sys.executable)}
    for contestant in contestants:
        if not contestant.packages:
            continue
        try:
            interpreters[contestant.system] = _interpreter_of(contestant)
        except TrialError as error:
            narrate(f"{contestant.system} is left out: {error}")
            outcome.leave_out(contestant.system, str(error))
    return interpreters


def _interpreter_of(peer: Contestant) -> Path:
    if peer.is_for_node:
        return ensure_node_environment(peer.system, peer.packages)
    return ensure_peer_environment(peer.system, peer.packages, peer.least_python)


def _run_episodes(
    server: Server, contestant: Contestant, interpreter: Path
) -> list[tuple[Phase, TrialReport]]:
    reports = []
    for episode in contestant.episodes:
        with server.fresh_database() as dsn:
            for phase in episode:
                report = run_trial(interpreter, contestant, phase, dsn)
                if phase.is_counted:
                    reports.append((phase, report))
    return reports


def run_trial(interpreter: Path, contestant: Contestant, phase: Phase, dsn: str) -> TrialReport:
    """
    Run one phase in a process of its own.

    Raises:
        TrialError: It failed, took more than its seconds, or printed no report.
    """
    script = (contestant.script,) if contestant.is_for_node else ("-m", contestant.script)
    arguments = (phase.name, "--dsn", dsn, "--count", str(phase.count))
    command = [str(interpreter), *script, *arguments]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_PREFIXES)
    }
    try:
        process = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=phase.seconds,
            cwd=REPOSITORY,
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
        )
    except subprocess.TimeoutExpired as error:
        message = f"{phase.name} of {phase.count:,} took more than {phase.seconds} s"
        raise TrialError(message) from error
    except subprocess.CalledProcessError as error:
        last_line = error.stderr.strip().rpartition("\n")[2]
        message = f"{phase.name} of {phase.count:,} failed: {last_line}"
        raise TrialError(message) from error
    return TrialReport.from_output(process.stdout)
