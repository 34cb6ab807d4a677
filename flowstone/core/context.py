"""
What an asset's function may know about the attempt that it belongs to.

A parameter annotated ``Context`` gets it; ``Context[date]`` says what the partition is::

    @sales.asset
    async def orders(ctx: Context[date], shop: Shop = Requires(Shop)) -> Orders:
        ctx.log.info("reading %s", ctx.partition)
        return await shop.orders(day=ctx.partition)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from flowstone.core.attempt_context import AttemptContext
from flowstone.core.errors import NotRegisteredError

T = TypeVar("T")

if TYPE_CHECKING:
    # Checkers know defaults (PEP 696) before Python 3.13 does: a bare ``Context`` is not an error.
    PT_co = TypeVar(  # pyright: ignore[reportGeneralTypeIssues]
        "PT_co", covariant=True, default=object
    )
else:
    PT_co = TypeVar("PT_co", covariant=True)

_NO_SLOTS: Mapping[type, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(AttemptContext, Generic[PT_co]):
    """
    One attempt at one asset.

    Attributes:
        asset: The asset's full name.
        partition: Which slice of it; None when the run has no partition.
        run_id: The run that wants it.
        materialization_id: Identifies this materialization, whatever its attempts.
        attempt: 1 for the first; a snooze gives it back.
        worker: The id of the worker, or None where there is none.
    """

    asset: str
    partition: PT_co
    run_id: int
    materialization_id: int
    worker: int | None = None
    slots: Mapping[type, object] = field(default_factory=lambda: _NO_SLOTS, repr=False)

    def _facts(self) -> Mapping[str, object]:
        return {
            "asset": self.asset,
            "partition": self.partition,
            "run_id": self.run_id,
            "materialization_id": self.materialization_id,
            "attempt": self.attempt,
        }

    def slot(self, kind: type[T]) -> T:
        """
        Return what the plugin of the asset's strategy left for the function.

        Raises:
            NotRegisteredError: No plugin left anything of this type.
        """
        value = self.slots.get(kind)
        if not isinstance(value, kind):
            known = [known.__qualname__ for known in self.slots]
            raise NotRegisteredError("context slot", kind.__qualname__, known)
        return value
