"""Items without a reader class: functions, lists and iterators."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from flowstone import reader
from flowstone.core.contracts.item_reader import Read
from flowstone.core.errors import InvalidOptionError
from flowstone.core.function_reader import function_reader
from flowstone.core.item_reading import ItemReading
from tests.core.reading import pages_of, values


class TestFunctionReader:
    @pytest.mark.conformance(252)
    def test_it_needs_init_and_read(self) -> None:
        missing: Any = None
        with pytest.raises(InvalidOptionError, match="init is missing; read is missing"):
            function_reader(init=missing, read=missing)
        with pytest.raises(InvalidOptionError, match="count=3 is no function"):
            function_reader(init=lambda c, d: 0, read=lambda s, n: Read([], 0), count=3)  # type: ignore[arg-type]
        with pytest.raises(InvalidOptionError, match="checkpoint and restore go together"):
            function_reader(
                init=lambda c, d: 0, read=lambda s, n: Read([], 0), checkpoint=lambda s: s
            )

    async def test_what_it_has_no_position_of_begins_anew(self, reading: ItemReading) -> None:
        async def page(state: int, limit: int) -> Read[int]:
            return Read([{"value": state}], state + 1, is_last=state == 3)

        closed: list[int] = []
        given = function_reader(init=lambda config, deps: 1, read=page, close=closed.append)
        source = reader(given, max_items=2)
        first = (await pages_of(reading, source))[0]
        assert closed == [3]

        again = await pages_of(reading, source, first.progress)

        assert values(again) == [1, 2]
        assert again[-1].progress["items_read"] == 2


class TestPlainItems:
    async def test_a_list_is_read_in_pages(self, reading: ItemReading) -> None:
        pages = await pages_of(reading, [{"value": it} for it in range(5)], page_size=2)

        assert [len(page.items) for page in pages] == [2, 2, 1]
        assert [page.is_last for page in pages] == [False, False, True]

    async def test_no_items_are_one_page_without_any(self, reading: ItemReading) -> None:
        [page] = await pages_of(reading, [])

        assert (page.items, page.is_last, page.progress["is_done"]) == ([], True, True)

    async def test_iterators_of_both_kinds_are_read_in_pages_and_closed(
        self, reading: ItemReading
    ) -> None:
        ended: list[str] = []

        def plain() -> Iterator[dict[str, int]]:
            try:
                yield from ({"value": it} for it in range(3))
            finally:
                ended.append("plain")

        async def asynchronous() -> AsyncIterator[dict[str, int]]:
            try:
                for it in range(3):
                    yield {"value": it}
            finally:
                ended.append("asynchronous")

        for source in (plain(), asynchronous()):
            async with reading.open(source, page_size=2) as pages:
                assert values([await anext(aiter(pages))]) == [0, 1]
        assert ended == ["plain", "asynchronous"]
        assert values(await pages_of(reading, asynchronous(), page_size=2)) == [0, 1, 2]

    async def test_what_is_no_source_of_items_is_refused(self, reading: ItemReading) -> None:
        for wrong in (None, 3, "abc", {"a": 1}):
            with pytest.raises(InvalidOptionError, match="items must be a list"):
                await pages_of(reading, wrong)
