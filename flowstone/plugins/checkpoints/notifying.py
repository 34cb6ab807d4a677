"""The background service that tells notifiers what has happened, and reminds them in time."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.service import Service
from flowstone.plugins.checkpoints.coordinator import TOPIC, CheckpointCoordinator
from flowstone.plugins.checkpoints.events import tell
from flowstone.plugins.checkpoints.notifier import Notifier
from flowstone.plugins.checkpoints.records import ApprovalEvent, Notice

logger = logging.getLogger("flowstone.approvals")

BATCH = 100
"""How many notices are taken, and mostly settled, in one commit."""

AT_ONCE = 20
"""How many of them are told at the same time."""

MOST_ATTEMPTS = 20
"""After that a notice is given up: with pauses of up to an hour, half a day."""

LONGEST_PAUSE = timedelta(seconds=30)
"""How late a lost wake-up can make a notice."""

NOTIFY_SECONDS = 60.0
"""What a notifier has not taken by then, it has not taken."""


class Notifying(Service):
    """Runs in one of all workers; takes what is due from rows, and sleeps until the next."""

    contract_version: ClassVar[str] = "1.0.0"
    is_elected: ClassVar[bool] = True

    def __init__(self, notifiers: Sequence[Notifier] = ()) -> None:
        self._notifiers = notifiers

    async def run(self, app: Host) -> None:
        approvals = app.coordinator(CheckpointCoordinator)
        room = asyncio.Semaphore(AT_ONCE)

        async def tell_in_turn(notice: Notice) -> None:
            async with room:
                told = await self._tell(app, notice)
            await self._settle(approvals, notice, told)

        with app.store.wakeups.watch([TOPIC]) as watch:
            while True:
                notices = await approvals.take_notices(BATCH)
                await asyncio.gather(*map(tell_in_turn, notices))
                if not notices:
                    due = await approvals.next_notice()
                    pause = LONGEST_PAUSE if due is None else min(due, LONGEST_PAUSE)
                    await watch.wait(pause.total_seconds())

    async def _tell(self, app: Host, notice: Notice) -> Sequence[str]:
        """Return the names of those who have taken it by now."""
        if notice.event is ApprovalEvent.REMINDER and notice.attempt == 1:
            tell(app.telemetry, notice.event.value, notice.approval)
        told = [*notice.told]
        for notifier in self._notifiers:
            if notifier.name not in told and await self._takes(app, notifier, notice):
                told.append(notifier.name)
        return told

    async def _settle(
        self, approvals: CheckpointCoordinator, notice: Notice, told: Sequence[str]
    ) -> None:
        is_done = all(it.name in told for it in self._notifiers)
        if not is_done and notice.attempt >= MOST_ATTEMPTS:
            logger.error("%s: notice %s is given up", notice.approval.label, notice.event.value)
            is_done = True
        await approvals.settle_notice(notice.id, told=told, is_done=is_done)

    async def _takes(self, app: Host, notifier: Notifier, notice: Notice) -> bool:
        try:
            async with asyncio.timeout(NOTIFY_SECONDS):
                await notifier.notify(notice)
        except Exception as error:  # of whatever kind: it is told again
            logger.warning(
                "%s: %s did not take the notice %s, attempt %s: %s",
                notice.approval.label,
                notifier.name,
                notice.event.value,
                notice.attempt,
                error,
            )
            facts = {
                "approval_id": notice.approval.id,
                "event": notice.event.value,
                "notifier": notifier.name,
                "error": error,
            }
            app.telemetry.execute(
                "approval.notify.exception", {"attempt": float(notice.attempt)}, facts
            )
            return False
        return True
