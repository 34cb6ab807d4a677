"""
Growth: does a turn cost more for what else is in the tables?

Ours alone. Each figure comes with a reference, taken in the same trial: turns alternate between the
schema that has the rows and one that has a backlog of ten thousand and nothing else. A ratio is the
one over the other: above one, it has grown.
"""

from bench.ours.growth import ANALYZED, BACKLOG, MEASURED, NEVER_ANALYZED, SCENARIOS
from bench.report import Ratio
from bench.runner import OURS, Contestant, Phase

SECONDS = 900
"""For two million rows and their indexes, on a machine that is busy with something else too."""


def _ratio(name: str) -> Ratio:
    return Ratio(f"{name}_ms_p50", OURS, f"{name}_reference_ms_p50", label=f"growth/{name}")


RATIOS = tuple(
    _ratio(f"{state}_{what}")
    for state in (*SCENARIOS, *(it + ANALYZED for it in SCENARIOS), NEVER_ANALYZED)
    for what in MEASURED
)


def contestants(*, quick: bool) -> tuple[Contestant, ...]:
    """Build the field: ours, with a fresh database for each thing that may be in the way."""
    in_the_way = 20_000 if quick else 1_000_000
    phases = [
        *(Phase(it, in_the_way, seconds=SECONDS) for it in SCENARIOS),
        Phase(NEVER_ANALYZED, BACKLOG, seconds=SECONDS),
    ]
    return tuple(Contestant(OURS, "bench.ours.growth", episodes=((it,),)) for it in phases)
