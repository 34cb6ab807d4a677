"""
Assets beside jobs and steps: independent ones drained, a chain with inputs loaded, enqueueing.

Peers: procrastinate and pgqueuer for independent work and enqueueing, DBOS for the chain.
"""

from bench.report import Ratio
from bench.runner import OURS, Contestant, Phase

RATIOS = (
    Ratio("assets_per_s", "procrastinate", "jobs_per_s"),
    Ratio("assets_per_s", "pgqueuer", "jobs_per_s"),
    Ratio("hops_per_s", "dbos", "steps_per_s"),
    Ratio("enqueued_per_s", "procrastinate", "enqueued_per_s"),
    Ratio("enqueued_per_s", "pgqueuer", "enqueued_per_s"),
)


def contestants(*, quick: bool) -> tuple[Contestant, ...]:
    """
    Build the field.

    procrastinate drains fewer than the others, which is in its favor: its claims take longer
    the more jobs there are.
    """
    independent = 2_000 if quick else 20_000
    procrastinate_drained = 500 if quick else 3_000
    chained = 200 if quick else 1_000
    return (
        Contestant(
            OURS,
            "bench.ours.assets",
            episodes=(
                (Phase("enqueue", independent), Phase("drain", independent)),
                (
                    Phase("enqueue-partitions", independent, is_counted=False),
                    Phase("drain-partitions", independent),
                ),
            ),
        ),
        Contestant(
            "procrastinate",
            "bench.peers.procrastinate_jobs",
            packages=("procrastinate", "psycopg[binary]"),
            episodes=(
                (Phase("enqueue", independent),),
                (
                    Phase("enqueue", procrastinate_drained, is_counted=False),
                    Phase("drain", procrastinate_drained),
                ),
            ),
        ),
        Contestant(
            "pgqueuer",
            "bench.peers.pgqueuer_jobs",
            packages=("pgqueuer", "asyncpg", "uvloop"),
            episodes=((Phase("enqueue", independent), Phase("drain", independent)),),
        ),
        Contestant(OURS, "bench.ours.assets", episodes=((Phase("chain", chained),),)),
        Contestant(
            "dbos",
            "bench.peers.dbos_steps",
            packages=("dbos",),
            episodes=((Phase("steps", chained),),),
        ),
    )
