# mypy: ignore-errors
# (It runs in the peer's environment, which the type checker does not see.)
"""
One DBOS workflow of sequential steps, with Postgres as its system database.

Every step takes the value of the one before it and returns a small one. Synchronous steps were
its fastest here (asynchronous ones 10 % slower; pool size and LISTEN made no difference), and
connections that are not asked whether they live before each transaction (12 % faster). The time
is that of the loop over the steps alone: neither launching nor starting and ending the workflow
counts.
"""

import time
from itertools import pairwise
from statistics import median

import psycopg
from dbos import DBOS, DBOSConfig

from bench.trial import Measurement, peak_rss, report, require_count, trial_arguments


@DBOS.step()
def step(value: int) -> int:
    return value + 1


@DBOS.workflow()
def chain(count: int) -> list[float]:
    """Run the steps and return the clock after each, the first reading before them all."""
    clock = [time.perf_counter()]
    value = 0
    for _ in range(count):
        value = step(value)
        clock.append(time.perf_counter())
    return clock


def run_steps(dsn: str, count: int) -> list[Measurement]:
    config: DBOSConfig = {
        "name": "flowstone-bench",
        "system_database_url": dsn,
        "log_level": "WARNING",
        "db_engine_kwargs": {"pool_pre_ping": False},
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        clock = chain(count)
        memory = peak_rss()
    finally:
        DBOS.destroy()
    require_count(count_recorded_steps(dsn), count, "recorded steps of a workflow that succeeded")
    times = [after - before for before, after in pairwise(clock)]
    return [
        Measurement("steps_per_s", count / sum(times), "steps/s"),
        Measurement("step_ms_p50", median(times) * 1000, "ms"),
        memory,
    ]


def count_recorded_steps(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*)"
            "  FROM dbos.operation_outputs o"
            "  JOIN dbos.workflow_status s USING (workflow_uuid)"
            " WHERE s.status = 'SUCCESS' AND o.output IS NOT NULL AND o.error IS NULL"
        ).fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    options = trial_arguments(__doc__, ("steps",)).parse_args()
    measurements = run_steps(options.dsn, options.count)
    report("dbos", "synchronous steps in one workflow, no pre-ping", *measurements)


if __name__ == "__main__":
    main()
