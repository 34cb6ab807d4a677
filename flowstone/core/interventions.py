"""What others did to our jobs: mended by whichever worker comes first, and told to people."""

import logging
from collections import Counter

from flowstone.core.contracts.store import Malformed, Reconciled, Store
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter

logger = logging.getLogger(__name__)


async def reconcile(store: Store, telemetry: TelemetryEmitter) -> bool:
    """Mend what others did to our jobs; return whether there is something to claim."""
    reconciled = await store.reconcile()
    for it in reconciled:
        _tell(it)
    for outcome, count in Counter(it.outcome for it in reconciled).items():
        telemetry.execute("reconcile", {"count": count}, {"outcome": outcome})
    taken = sorted({it.queue for it in reconciled if it.outcome == "put_back"})
    if taken:
        logger.error(
            "A worker that is not FlowStone's takes jobs of ours from %s; what it took was put "
            "back. Start it with the queues that are its own: procrastinate worker --queues=...",
            ", ".join(taken),
        )
    return any(it.outcome in ("put_back", "retried") for it in reconciled)


def _tell(it: Reconciled) -> None:
    ended = {"cancelled": "was cancelled", "failed": "has failed"}
    logger.warning(
        "Materialization %s (%s) of run %s %s: %s",
        it.materialization_id,
        it.key.asset,
        it.run_id,
        ended.get(it.outcome, "is ready again"),
        it.message,
    )


def tell_malformed(job: Malformed) -> None:
    """Log a job that cannot be worked on, and what to do instead."""
    if job.ended is None:
        logger.error("Job %s belongs to no materialization: %s", job.job_id, job.arguments)
        return
    logger.error(
        "Job %s was retried from outside FlowStone, but its materialization has ended (%s) and "
        "stays so; to compute it again: flowstone runs retry %s",
        job.job_id,
        job.ended,
        job.run_id,
    )
