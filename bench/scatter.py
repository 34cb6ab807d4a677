"""
A fan-out beside jobs: no-op items whose results are kept, beside no-op jobs of the fastest peers.

Ours is timed whole: the items are computed, inserted, run, settled and gathered. Theirs is the
drain alone.
"""

from bench.report import Ratio
from bench.runner import OURS, Contestant, Phase

PEERS = ("graphile-worker", "pgqueuer")

RATIOS = (
    *(Ratio("items_per_s", peer, "jobs_per_s") for peer in PEERS),
    *(Ratio("two_processes_items_per_s", peer, "jobs_per_s") for peer in PEERS),
    Ratio("million_items_per_s", OURS, "items_per_s", label="kept/million_items_per_s"),
)


def contestants(*, quick: bool) -> tuple[Contestant, ...]:
    """Build the field; the few and the million are there to be compared with the many."""
    few, many, million = (1_000, 2_000, 5_000) if quick else (10_000, 100_000, 1_000_000)
    return (
        Contestant(
            OURS,
            "bench.ours.scatter",
            episodes=(
                (Phase("few", few),),
                (Phase("many", many),),
                (Phase("asynchronous", many),),
                (Phase("two-processes", many),),
                (Phase("million", million),),
            ),
        ),
        Contestant(
            "pgqueuer",
            "bench.peers.pgqueuer_jobs",
            ((Phase("enqueue", many, is_counted=False), Phase("drain", many)),),
            packages=("pgqueuer", "asyncpg", "uvloop"),
        ),
        Contestant(
            "graphile-worker",
            "bench/peers/graphile_worker.mjs",
            ((Phase("enqueue", many, is_counted=False), Phase("drain", many)),),
            packages=("node@22", "graphile-worker@latest"),
        ),
    )
