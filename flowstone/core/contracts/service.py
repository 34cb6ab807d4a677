"""What runs beside the work for as long as there are workers: the background service's contract."""

from abc import ABC, abstractmethod
from typing import ClassVar

from flowstone.core.contracts.host import Host


class Service(ABC):
    """
    Runs in every worker, or (``is_elected``) in one of all of them.

    It starts and stops with the worker. One that raises is logged, told as ``service.exception``,
    shown by ``app.health()`` and begun again, later each time it does not last; the worker goes on.
    Obligations: it does not block the event loop, lets itself be cancelled, and stands being cut
    short anywhere. An elected one that dies with its worker is taken over by another, and may for a
    moment run twice: what must not even then overlap needs a fence in the database.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    is_elected: ClassVar[bool] = False
    """Whether one of all workers of a store runs it, instead of each."""

    takeover_seconds: ClassVar[float] = 30.0
    """
    How long an elected one may be gone when its worker died; then another asks, and takes it over.
    Every worker asks the database once in each third of it.
    """

    stop_seconds: float = 5.0
    """How long it may take to end once it is cancelled; after that it is left behind."""

    @abstractmethod
    async def run(self, app: Host) -> None:
        """
        Serve until cancelled; returning means that there is nothing more to do.

        Args:
            app: The worker's application, open: to enqueue, to read, to tell telemetry.
        """

    def wind_down(self) -> None:
        """
        Hear that the worker takes no more work, and finishes what it has begun.

        `run` is cancelled when that is done, and may return before. The default goes on until then.
        """
