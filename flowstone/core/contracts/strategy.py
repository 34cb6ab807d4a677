"""
How an asset of some kind is computed: the contract that fan-out, routers or gates implement.

The engine knows outcomes only. A strategy starts an asset and returns one; if that is `Waiting`,
`resume` is called once the wait has ended, perhaps days later in another process. Between the two
nothing is kept but the JSON in `Waiting.state`.

Source: docs/adr/0005.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol, TypeVar

from flowstone.core.asset import Asset
from flowstone.core.contracts.awaiting import Awaited
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.item_pages import ItemPages
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import FlowStoneError, Problem
from flowstone.core.json_value import JsonValue
from flowstone.core.outcome import Outcome, Wake

C = TypeVar("C", bound=Coordinator)
Item = TypeVar("Item")


class Execution(Protocol):
    """One attempt at one asset, as its strategy sees it."""

    @property
    def asset(self) -> Asset[..., object]:
        """The definition."""

    @property
    def run_id(self) -> int:
        """The run that wants it."""

    @property
    def materialization_id(self) -> int:
        """The materialization: what `Store.wake` is told; of an assistant, whom it works for."""

    @property
    def assistant_id(self) -> int | None:
        """Of an assistant, its own id, to which `claim` belongs; None of the materialization."""

    @property
    def partition(self) -> str:
        """The partition, encoded."""

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""

    @property
    def claim(self) -> int:
        """The fence: only the latest claim of a materialization still counts."""

    @property
    def codec(self) -> Codec:
        """What turns values into JSON and back in this application."""

    @property
    def normalizer(self) -> ErrorNormalizer:
        """What foreign exceptions become in this application."""

    @property
    def is_wanted_back(self) -> bool:
        """Whether the worker stops: what can go on elsewhere should end soon."""

    @property
    def telemetry(self) -> TelemetryEmitter:
        """To tell the events that the plugin has added to the catalogue."""

    def coordinator(self, contract: Callable[..., C]) -> C:
        """Return what keeps the state of this kind of asset; raises `NotRegisteredError`."""

    async def call(self, **supplied: object) -> object:
        """
        Call the asset's function with its inputs, plus what the strategy supplies itself.

        What is supplied for a parameter that has a source goes before it.

        Returns what the function returned; raises what it raised. A plain function runs in a
        thread, or in a child process if the asset says so.
        """

    async def prepare(self) -> Callable[..., Awaitable[object]]:
        """
        Return what calls the asset's function any number of times, at once if need be.

        It takes by name what the strategy supplies itself. All else that the function wants is
        loaded now, once, and is the same in every call. There is no ``ctx.transaction()`` in them.
        """

    async def call_phase(self, phase: str, **supplied: object) -> object:
        """Call one of the definition's further functions, by its name, in the same way."""

    def read_items(
        self,
        source: ItemSource[Item] | Iterable[Item] | AsyncIterable[Item],
        *,
        phase: str = "items",
        progress: Mapping[str, JsonValue] | None = None,
        page_size: int | None = None,
    ) -> AbstractAsyncContextManager[ItemPages[Item]]:
        """
        Open what a function of items has returned, and read it page by page.

        Args:
            source: A reader that was named, or the items themselves, which begin anew after a
                restart.
            phase: The definition's function that returned it; its inputs configure the reader.
            progress: That of the last page that was kept; None is the beginning.
            page_size: The most items of a page; the reader's configuration may say fewer.

        Raises:
            NotRegisteredError: The application has no reader of that name.
            InvalidOptionError: The reader's configuration is wrong, or it is no source of items.
            ReaderError: The reader failed; also while pages are read.
        """

    async def awaited(self) -> Sequence[Awaited]:
        """
        Return how the upstreams stand that the asset waits for itself (`Edge.awaited`).

        One whose value came too late to be among the inputs of this attempt is still running.
        """

    async def give_up(self, materialization_ids: Sequence[int], reason: str) -> int:
        """
        Cancel some of what it awaits, and what only that needs; see `Store.give_up`.

        Returns how many had not ended.
        """


class ForContracts(Protocol):
    """The coordinators of an application."""

    def get(self, contract: Callable[..., C]) -> C:
        """Return the one of a contract; raises `NotRegisteredError`."""


class Strategy(ABC):
    """
    One kind of asset.

    An instance belongs to a definition and is shared by every attempt, so it keeps no state of
    its own. The asset's timeout and retry hold around each of the two methods.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    plugin: ClassVar[str | None] = None
    """
    The name of the plugin that the strategy belongs to, and needs for its tables, coordinators or
    events: an application with such an asset uses that plugin without being told to.
    """

    awaits_edges: ClassVar[bool] = False
    """Whether it waits for awaited edges; an asset with such and another strategy is refused."""

    @property
    def inner(self) -> "Strategy | None":
        """The strategy that this one passes the asset on to, if it only stands before one."""
        return None

    @property
    def fingerprint(self) -> str:
        """What was said beside the functions and decides the value; part of the code's version."""
        return ""

    def labels(self, asset: Asset[..., object]) -> Mapping[str, str]:
        """Return what graphs call the asset's edges, by the upstream's full name."""
        return {}

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterable[Problem]:
        """
        Say what is wrong with the asset among the others; asked when an application is built.

        Args:
            assets: All of the application's, by full name.
            dependents: Those of them that have an edge to this one.
        """
        return ()

    def decided_by(self, asset: Asset[..., object]) -> str | None:
        """
        Name the upstream whose value alone decides whether the asset is skipped, in full.

        A run that reuses such a value leaves the asset out if `foresee` says that it is skipped.
        """
        return None

    async def foresee(
        self, decided_by: Sequence[int], coordinators: ForContracts
    ) -> Mapping[int, str]:
        """
        Return with which of these values the asset is skipped, and why.

        Args:
            decided_by: Materializations of the upstream that `decided_by` names.
        """
        return {}

    @abstractmethod
    async def start(self, execution: Execution) -> Outcome:
        """
        Begin an attempt.

        May be called again for the same materialization, after a retry or when a worker died: what
        it does outside must be safe to repeat.
        """

    @abstractmethod
    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        """Go on after a wait; called again, with the same wake-up, when an attempt is lost."""

    async def assist(self, execution: Execution, arguments: JsonValue) -> Outcome:
        """
        Do a part of what a waiting materialization shares out; see `Store.add_assistants`.

        Returns `Skipped` when there is no more to do, or `Snoozed` to be claimed again later. One
        that raises is claimed again; the asset's timeout and retry do not hold for it. Called again
        with the same arguments when an attempt is lost. The default asks `inner`, or refuses.
        """
        if self.inner is not None:
            return await self.inner.assist(execution, arguments)
        raise FlowStoneError(f"{type(self).__qualname__} has no assistants")
