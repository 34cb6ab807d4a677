"""
Jobs beside jobs: enqueued, drained by one worker process, started one by one on an idle worker.

Peers: procrastinate, pgqueuer and oban-py in Python, graphile-worker in Node.
"""

from bench.report import Ratio
from bench.runner import OURS, Contestant, Phase

PEERS = ("procrastinate", "pgqueuer", "oban", "graphile-worker")
METRICS = ("jobs_per_s", "enqueued_per_s", "start_ms_p50")

RATIOS = (
    *(Ratio(metric, peer, metric) for metric in METRICS for peer in PEERS),
    *(
        Ratio(metric, OURS, plain, label=f"kept/{metric}")
        for metric, plain in (
            ("unique_enqueued_per_s", "enqueued_per_s"),
            ("unique_jobs_per_s", "jobs_per_s"),
            ("limited_jobs_per_s", "jobs_per_s"),
        )
    ),
)


def contestants(*, quick: bool) -> tuple[Contestant, ...]:
    """
    Build the field.

    procrastinate drains fewer than the others, which is in its favor: its claims take longer
    the more jobs there are.
    """
    drained = 2_000 if quick else 20_000
    procrastinate_drained = 500 if quick else 3_000
    started = 30 if quick else 300
    all_of_them = (
        (Phase("enqueue", drained), Phase("drain", drained)),
        (Phase("start", started),),
    )
    return (
        Contestant(
            OURS,
            "bench.ours.jobs",
            episodes=(
                *all_of_them,
                (Phase("enqueue-unique", drained), Phase("drain-unique", drained)),
                (
                    Phase("enqueue-limited", drained, is_counted=False),
                    Phase("drain-limited", drained),
                ),
            ),
        ),
        Contestant(
            "procrastinate",
            "bench.peers.procrastinate_jobs",
            packages=("procrastinate", "psycopg[binary]"),
            episodes=(
                (Phase("enqueue", drained),),
                (
                    Phase("enqueue", procrastinate_drained, is_counted=False),
                    Phase("drain", procrastinate_drained),
                ),
                (Phase("start", started),),
            ),
        ),
        Contestant(
            "pgqueuer",
            "bench.peers.pgqueuer_jobs",
            all_of_them,
            packages=("pgqueuer", "asyncpg", "uvloop"),
        ),
        Contestant(
            "oban",
            "bench.peers.oban_jobs",
            all_of_them,
            packages=("oban", "uvloop"),
            least_python=(3, 12),
        ),
        Contestant(
            "graphile-worker",
            "bench/peers/graphile_worker.mjs",
            all_of_them,
            packages=("node@22", "graphile-worker@latest"),
        ),
    )
