"""Approvals in the log."""

import logging
from typing import ClassVar

from flowstone.plugins.checkpoints.notifier import Notifier
from flowstone.plugins.checkpoints.records import Notice

logger = logging.getLogger("flowstone.approvals")


class LogNotifier(Notifier):
    """Writes a line for each notice, to the logger ``flowstone.approvals``."""

    contract_version: ClassVar[str] = "1.0.0"

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level

    async def notify(self, notice: Notice) -> None:
        logger.log(self._level, "%s: %s", notice.approval.label, _text(notice))


def _text(notice: Notice) -> str:
    it = notice.approval
    if not it.status.is_open:
        is_it = notice.event.value == it.status.value
        return it.decision if is_it else f"{notice.event.value}, by now {it.decision}"
    whom = f", for {', '.join(it.approvers)}" if it.approvers else ""
    about = f": {it.message}" if it.message else ""
    return f"{notice.event.value}{whom}{about}"
