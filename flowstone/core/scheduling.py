"""
Schedules at work: beside every worker; one of all workers enqueues.

::

    a worker starts ─▶ the rows become as its code has them ─▶ it stands by ─▶ it leads:
        what is due is enqueued and moved on in one step ─▶ sleep until the next tick, or a change

That one leads saves the others the looking. That no tick is enqueued twice does not depend on it:
each step counts only for the tick that it has read.

Source: docs/adr/0020.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar

from flowstone.core.backoff import Backoff
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.schedule_store import Advance, DueSchedule
from flowstone.core.contracts.service import Service
from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError, InvalidOptionError
from flowstone.core.leadership import lead
from flowstone.core.schedule import Schedule
from flowstone.core.schedule_rows import ScheduleRows
from flowstone.core.ticking import advance

logger = logging.getLogger(__name__)

BATCH = 100
"""How many schedules are moved on in one step."""

POLL_SECONDS = 30.0
"""How long a change may stay unseen where no notifications arrive."""

HELD_SECONDS = 0.2
"""The pause before another look at rows that somebody held."""


async def synchronize(
    store: Store, rows: ScheduleRows, pipelines: Sequence[str], schedules: Sequence[Schedule]
) -> None:
    """Make the rows of these pipelines as their code has them."""
    now = await store.now()
    await store.synchronize_schedules(pipelines, [rows.row(it, now) for it in schedules])


async def enqueue_due(app: Host, rows: ScheduleRows) -> float:
    """Enqueue the ticks that are due, one batch, and return in how many seconds to look again."""
    now, found = await app.store.due_schedules(limit=BATCH)
    due = [it for it in found if it.next_at <= now]
    if not due:
        seconds = min((it.next_at - now).total_seconds() for it in found) if found else POLL_SECONDS
        return min(seconds + 0.001, POLL_SECONDS)
    ticked = await app.store.advance_schedules([_advance(it, now, rows) for it in due])
    for it in ticked:
        if it.tick_at is not None:
            facts = {"schedule": it.name, "tick_at": it.tick_at, "job_id": it.job_id}
            late = (now - it.tick_at).total_seconds() * 1000
            app.telemetry.execute("schedule.tick", {"late": late}, facts)
    return 0.0 if ticked else HELD_SECONDS


def _advance(schedule: DueSchedule, now: datetime, rows: ScheduleRows) -> Advance:
    try:
        return advance(schedule, now, rows.ticks)
    except InvalidOptionError as error:
        logger.error("Schedule %r has no further ticks: %s", schedule.name, error)
        return Advance(schedule, (), None)


class Scheduling(Service):
    """
    Keeps the schedules of an application's code, and enqueues what is due.

    Args:
        pipelines: The names of the application's pipelines.
    """

    contract_version: ClassVar[str] = "1.0.0"

    def __init__(
        self, rows: ScheduleRows, pipelines: Sequence[str], schedules: Sequence[Schedule]
    ) -> None:
        self._rows = rows
        self._pipelines = pipelines
        self._schedules = schedules

    async def run(self, app: Host) -> None:
        """Serve for ever; see `Service.run`."""
        await synchronize(app.store, self._rows, self._pipelines, self._schedules)
        await lead(app.store, "schedules", partial(self._keep_enqueueing, app))

    async def _keep_enqueueing(self, app: Host) -> None:
        backoff = Backoff()
        with app.store.wakeups.watch(["schedules"]) as watch:
            while True:
                try:
                    pause = await enqueue_due(app, self._rows)
                    backoff.reset()
                except DatabaseError as error:
                    if not error.retryable:
                        raise
                    logger.warning("Schedules will be looked at again: %s", error)
                    pause = backoff.next()
                await watch.wait(pause)
