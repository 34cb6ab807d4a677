"""Who is told that something has happened to an approval: the notifier's contract."""

from abc import ABC, abstractmethod
from typing import ClassVar

from flowstone.plugins.checkpoints.records import Notice


class Notifier(ABC):
    """
    Tells people, or another system, of approvals.

    It is told by a background service of the workers, from rows: after the fact, at least once,
    and again after a while if it raises. Decisions never wait for it. Obligations: it returns once
    the notice was taken, raises if it was not, lets itself be cancelled, and does not block the
    event loop. The same notice may come twice, with the same id.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @property
    def name(self) -> str:
        """What rows call it; two of one application are told apart by it."""
        return type(self).__name__

    @abstractmethod
    async def notify(self, notice: Notice) -> None:
        """Tell of it; raises when it was not taken."""
