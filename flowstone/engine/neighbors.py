"""Traces of what else works on procrastinate's tables, for `flowstone doctor`; reads only."""

from collections.abc import Iterator, Mapping

from flowstone.core.contracts.health import Finding, Level
from flowstone.engine.fingerprint import INTERVENTION_TRIGGERS
from flowstone.engine.schema import Driver


def examine_neighbors(connection: Driver, triggers: Mapping[str, bool]) -> Iterator[Finding]:
    """
    Yield what is wrong with the neighborhood; nothing when all is well.

    Args:
        triggers: The triggers on procrastinate's jobs, and whether each is on.
    """
    missing = [name for name in INTERVENTION_TRIGGERS if name not in triggers]
    if missing:
        yield Finding(
            "interventions",
            Level.FAIL,
            f"what others do to jobs is not seen: trigger {missing[0]} is missing",
            "flowstone db triggers batched",
        )
    taken = _number(connection, _TAKEN)
    if taken:
        yield Finding(
            "other workers",
            Level.WARN,
            f"a worker that is not FlowStone's took {taken} jobs of ours within the last hour, "
            "and gave them up",
            "start it with its own queues: procrastinate worker --queues=...",
        )
    stranded = _number(connection, _STRANDED)
    if stranded:
        yield Finding(
            "runs",
            Level.WARN,
            f"run {stranded} cannot end: the job of an open materialization is gone",
            f"flowstone runs cancel {stranded}",
        )


def _number(connection: Driver, query: bytes) -> int:
    row = connection.execute(query).fetchone()
    return 0 if row is None or row[0] is None else int(str(row[0]))


# A job that was put back is 'retried'; one that somebody has retried by hand fails again.
_TAKEN = b"""\
SELECT count(DISTINCT e.job_id)
FROM (
    SELECT job_id, type, at
    FROM procrastinate_events
    ORDER BY id DESC
    LIMIT 100000
) e
JOIN flowstone_materializations m ON m.id = e.job_id
WHERE e.type = 'retried' AND e.at > now() - interval '1 hour' AND m.status <> 'failed'"""

# What was noted is about to be mended; what a session did that is a replica's is not.
_STRANDED = b"""\
SELECT min(r.id)
FROM flowstone_runs r
JOIN flowstone_materializations m ON m.run_id = r.id
WHERE r.status = 'running'
    AND m.status IN ('ready', 'waiting', 'running')
    AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = m.id)
    AND NOT EXISTS (SELECT FROM flowstone_interventions i WHERE i.job_id = m.id)"""
