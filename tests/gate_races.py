"""
The races of gates and approvals, thousands of times: ``python -m tests.gate_races --rounds 3000``.

Each repeat is the suite's own race on a database of its own, with other seeds and other moments: of
signals, deadlines and cancels (two who signal and cancel, two workers), and of approvals, changes,
rejections, deadlines and cancels (four who decide, one worker). What has to hold is asserted there:
one winner, one continuation, nothing left. It ends with 1 after the first that does not hold.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.plugins.checkpoints import test_races as approvals
from tests.scenarios import test_signal_gates as gates


@dataclass(frozen=True)
class Race:
    """A test, and how many rounds it makes."""

    name: str
    rounds: int


RACES = (
    Race(
        "tests/scenarios/test_signal_gates.py::"
        + gates.test_of_signals_a_deadline_and_a_cancel_one_wins.__name__,
        3 * gates.ROUNDS,
    ),
    Race(
        "tests/plugins/checkpoints/test_races.py::"
        + approvals.test_of_four_who_decide_at_once_one_has_decided.__name__,
        approvals.ROUNDS,
    ),
)
TIMEOUT_SECONDS = 120


def main() -> int:
    """Repeat each race until there were so many rounds of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.gate_races", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000, help="of each kind of race (3000)")
    wanted = parser.parse_args().rounds
    done = dict.fromkeys(RACES, 0)
    started = time.monotonic()
    while left := [race for race in RACES if done[race] < wanted]:
        for race in left:
            command = ("-m", "pytest", "-q", "-x", f"--timeout={TIMEOUT_SECONDS}", race.name)
            run = subprocess.run(
                [sys.executable, *command], check=False, capture_output=True, text=True
            )
            if run.returncode:
                print(run.stdout, run.stderr, sep="\n")
                print(f"failed after {done[race]:,} rounds: {race.name}")
                return 1
            done[race] += race.rounds
            print(f"{time.monotonic() - started:5.0f} s  {done[race]:6,} {race.name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
