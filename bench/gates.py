"""
Signal gates: opened, left open, signaled, and how soon after its signal an asset goes on.

Approvals likewise. All gates are of one run and all approvals of another; a part of them is
signaled and decided, and the deadlines of the rest pass at one moment while no worker is there.

Ours alone: what the peers offer for it is another thing. The load of an idle worker is measured
with nothing in the tables, and with all gates and approvals open.
"""

from bench.report import Ratio
from bench.runner import OURS, Contestant, Phase

RATIOS = (
    Ratio("idle_open_commits_per_s", OURS, "idle_empty_commits_per_s", label="idle/commits"),
    Ratio("idle_open_cpu_ms_per_s", OURS, "idle_empty_cpu_ms_per_s", label="idle/cpu"),
)
SECONDS = 600


def contestants(*, quick: bool) -> tuple[Contestant, ...]:
    """Build the field."""
    opened = 2_000 if quick else 100_000
    signaled = 500 if quick else 10_000
    started = 30 if quick else 1_000
    decided = 500 if quick else 10_000
    return (
        Contestant(
            OURS,
            "bench.ours.gates",
            episodes=(
                (
                    Phase("idle-empty", 0),
                    Phase("open", opened, seconds=SECONDS),
                    Phase("ask", opened, seconds=SECONDS),
                    Phase("idle-open", 0),
                    Phase("start", started),
                    Phase("decide-one-by-one", started),
                    Phase("signal", signaled),
                    Phase("finish", signaled, seconds=SECONDS),
                    Phase("decide", decided, seconds=SECONDS),
                    Phase("sweep", 2 * opened - signaled - decided, seconds=SECONDS),
                ),
            ),
        ),
    )
