"""
Orphans: what an IO manager has written and no row knows.

A value is written before its materialization is settled. An attempt that turns out to be late, was
cancelled, or died in between leaves what it wrote; so does a materialization whose row was pruned.

A sweep looks at the storage first and asks the store afterwards. What it found was written under a
claim, and a claim that neither runs nor has succeeded by then never will: deleting needs no lock,
whatever commits meanwhile. The grace period is for what rows cannot tell, such as a database that
was set back to an earlier state.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flowstone.core.chosen_io import DEFAULT_IO, ChosenIO
from flowstone.core.contracts.io_manager import IOManager, Piece
from flowstone.core.contracts.store import Store
from flowstone.core.definitions import Definitions
from flowstone.core.errors import (
    DatabaseError,
    InvalidOptionError,
    reason_text,
)
from flowstone.core.io_choice import IOLike
from flowstone.core.json_value import JsonValue

logger = logging.getLogger(__name__)

GRACE = timedelta(days=1)

AT_ONCE = 1_000
EXAMPLES = 10
LARGEST_ID, LARGEST_CLAIM = 2**63 - 1, 2**31 - 1


@dataclass(slots=True)
class Swept:
    """
    What a sweep found with one IO manager.

    Attributes:
        io: The manager, as `flowstone.core.io_choice` writes it.
        found_count: How much attempts of this store have written there.
        orphan_count: How much of it no row knows and is older than the grace period.
        orphan_bytes: How large that is.
        examples: Where the first few orphans are.
        problem: Why it was not swept, or not to the end.
        has_failed: Whether that is a failure; a manager that cannot tell what it has written is
            none.
    """

    io: str
    found_count: int = 0
    orphan_count: int = 0
    orphan_bytes: int = 0
    examples: list[JsonValue] = field(default_factory=list)
    problem: str | None = None
    has_failed: bool = False


class Sweeper:
    """Sweeps the IO managers that are registered, or that assets configure."""

    def __init__(self, definitions: Definitions, io: ChosenIO) -> None:
        self._definitions = definitions
        self._io = io

    async def sweep(
        self,
        store: Store,
        io: IOLike | None = None,
        *,
        grace: timedelta = GRACE,
        dry_run: bool = False,
    ) -> list[Swept]:
        """Sweep one of them, or all."""
        places = self._places() if io is None else [self._place(io)]
        return [
            await sweep(store, name, manager, grace=grace, dry_run=dry_run)
            for name, manager in places
        ]

    def _place(self, io: IOLike) -> tuple[str, IOManager]:
        holder = self._io.holder(io)
        if holder is None:
            raise InvalidOptionError("the store itself leaves no orphans; name an IO manager")
        return holder, self._io.manager(holder)

    def _places(self) -> Iterator[tuple[str, IOManager]]:
        holders = {self._io.holder(it.options.io or DEFAULT_IO) for it in self._definitions}
        for name in sorted({*self._io.names(), *(it for it in holders if it is not None)}):
            try:
                yield self._place(name)
            except InvalidOptionError:
                continue  # A class that is registered for others to configure is no place.


async def sweep(
    store: Store,
    io: str,
    manager: IOManager,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
) -> Swept:
    """
    Delete the orphans of one IO manager, a thousand at a time.

    Several sweeps at once do no harm. An IO manager that fails, or cannot tell what it has written,
    is a `Swept.problem`.

    Args:
        io: What the result calls the manager.
        grace: Younger ones are left.
        dry_run: Delete nothing; what is counted would have been deleted.
    """
    swept = Swept(io)
    if type(manager).written is IOManager.written:
        swept.problem = f"{type(manager).__name__} cannot tell what it has written"
        return swept
    try:
        async for page in _pages(manager.written(await store.origin())):
            swept.found_count += len(page)
            orphans = await _orphans(store, page, datetime.now(UTC) - grace)
            if orphans and not dry_run:
                await manager.discard([it.location for it in orphans])
            swept.orphan_count += len(orphans)
            swept.orphan_bytes += sum(it.size_bytes for it in orphans)
            room = EXAMPLES - len(swept.examples)
            swept.examples.extend(it.location for it in orphans[:room])
    except DatabaseError:
        raise
    except Exception as error:
        swept.problem, swept.has_failed = reason_text(error), True
    if swept.orphan_count and not dry_run:
        logger.info("Deleted %s orphans from %s", swept.orphan_count, io)
    return swept


async def _pages(pieces: AsyncIterator[Piece]) -> AsyncIterator[list[Piece]]:
    page = []
    async for piece in pieces:
        page.append(piece)
        if len(page) == AT_ONCE:
            yield page
            page = []
    if page:
        yield page


async def _orphans(store: Store, page: Sequence[Piece], before: datetime) -> list[Piece]:
    old = [it for it in page if it.written_at <= before and _is_possible(it)]
    kept = await store.kept([(it.materialization_id, it.claim) for it in old]) if old else ()
    return [it for it in old if (it.materialization_id, it.claim) not in kept]


def _is_possible(piece: Piece) -> bool:
    """Whether a store can have such numbers; others were made up by somebody else."""
    return piece.materialization_id <= LARGEST_ID and piece.claim <= LARGEST_CLAIM
