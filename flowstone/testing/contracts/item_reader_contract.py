"""What every item reader has to do."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pytest

from flowstone.core.contracts.item_reader import ItemReader, Read

# Any: the suite runs over readers of every state.
AnyReader: TypeAlias = ItemReader[Any]

SIZES = [1, 2, 3, 1000]
ENDLESS = 10_000


class ItemReaderContract:
    """
    Subclass it with the fixtures ``reader``, ``config`` and ``items``.

    ``config`` makes the reader give ``items``, of which there are at least five. For a reader with
    checkpoints there is more in `ResumableReaderContract`.
    """

    @pytest.fixture
    async def reader(self) -> AnyReader:
        """Give the reader."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `reader`")

    @pytest.fixture
    async def config(self) -> Mapping[str, object]:
        """Give a configuration, without functions."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `config`")

    @pytest.fixture
    async def items(self, config: Mapping[str, object]) -> Sequence[object]:
        """Give what is to be read with it, in order."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `items`")

    @pytest.mark.parametrize("size", SIZES)
    async def test_all_items_come_once_and_in_order(
        self,
        reader: AnyReader,
        config: Mapping[str, object],
        items: Sequence[object],
        size: int,
    ) -> None:
        reads = await all_reads(reader, config, size)

        assert len(items) >= 5, "the suite needs some pages"
        assert joined(reads) == list(items)

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_page_has_no_more_than_was_asked_for_and_the_last_says_so(
        self, reader: AnyReader, config: Mapping[str, object], items: Sequence[object], size: int
    ) -> None:
        reads = await all_reads(reader, config, size)

        assert max(len(read.items) for read in reads) <= size
        assert [read.is_last for read in reads] == [False] * (len(reads) - 1) + [True]

    async def test_two_readings_at_once_do_not_mix(
        self, reader: AnyReader, config: Mapping[str, object], items: Sequence[object]
    ) -> None:
        one, other = await reader.init(config, {}), await reader.init(config, {})

        first = await reader.read(one, 2)
        second = await reader.read(other, 2)
        third = await reader.read(first.state, 2)

        assert list(first.items) == list(second.items)
        got = joined([first, third])
        assert got == list(items[: len(got)])
        await reader.close(third.state)
        await reader.close(second.state)

    async def test_the_count_is_that_of_all_items_or_unknown(
        self, reader: AnyReader, config: Mapping[str, object], items: Sequence[object]
    ) -> None:
        state = await reader.init(config, {})
        counted = await reader.count(state)
        read = await reader.read(state, 2)

        assert counted in (None, len(items))
        assert await reader.count(read.state) in (None, len(items))
        await reader.close(read.state)

    async def test_one_that_has_read_nothing_is_closed(
        self, reader: AnyReader, config: Mapping[str, object]
    ) -> None:
        await reader.close(await reader.init(config, {}))


class ResumableReaderContract(ItemReaderContract):
    """What a reader with checkpoints has to do; it has the same fixtures."""

    @pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 3), (3, 2), (2, 1000)])
    async def test_another_process_goes_on_after_any_page(
        self,
        reader: AnyReader,
        config: Mapping[str, object],
        items: Sequence[object],
        before: int,
        after: int,
    ) -> None:
        reads = await all_reads(reader, config, before)

        for done in range(1, len(reads)):
            kept = json.dumps(reader.checkpoint(reads[done - 1].state), allow_nan=False)
            rest = await all_reads(reader, config, after, json.loads(kept))
            assert joined(reads[:done]) + joined(rest) == list(items), f"after page {done}"

    async def test_a_page_that_was_lost_comes_again(
        self, reader: AnyReader, config: Mapping[str, object], items: Sequence[object]
    ) -> None:
        state = await reader.init(config, {})
        first = await reader.read(state, 2)
        kept = json.loads(json.dumps(reader.checkpoint(first.state)))
        lost = await reader.read(first.state, 2)
        await reader.close(lost.state)

        again = await all_reads(reader, config, 2, kept)

        assert list(again[0].items) == list(lost.items)
        assert joined([first, *again]) == list(items)

    async def test_going_on_from_a_restored_position_keeps_positions(
        self, reader: AnyReader, config: Mapping[str, object], items: Sequence[object]
    ) -> None:
        """A second crash: the checkpoint of a reader that was restored itself."""
        got: list[object] = []
        kept: Any = None
        for _ in range(ENDLESS):
            state = await reader.init(config, {})
            if kept is not None:
                state = await reader.restore(state, json.loads(kept))
            read = await reader.read(state, 2)
            got += read.items
            kept = json.dumps(reader.checkpoint(read.state), allow_nan=False)
            await reader.close(read.state)
            if read.is_last:
                break

        assert got == list(items)


async def all_reads(
    reader: AnyReader, config: Mapping[str, object], size: int, checkpoint: Any = None
) -> list[Read[Any]]:
    """Read to the end, from a checkpoint if one is given."""
    reads: list[Read[Any]] = []
    state = await reader.init(config, {})
    if checkpoint is not None:
        state = await reader.restore(state, checkpoint)
    try:
        while len(reads) < ENDLESS:
            reads.append(await reader.read(state, size))
            state = reads[-1].state
            if reads[-1].is_last:
                return reads
    finally:
        await reader.close(state)
    raise AssertionError("it does not end: the last page has to say is_last=True")


def joined(reads: Sequence[Read[Any]]) -> list[object]:
    """Return the items of all pages."""
    return [item for read in reads for item in read.items]
