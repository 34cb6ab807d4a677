"""What happens when a reader fails, or is none."""

from collections.abc import Mapping
from typing import Any

import pytest

from flowstone import reader
from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError, ReaderError
from flowstone.core.function_reader import function_reader
from flowstone.core.item_reading import ItemReading
from flowstone.core.json_value import JsonValue
from flowstone.core.reading_progress import ReadingProgress
from tests.core.numbers_reader import At, Numbers, Seen
from tests.core.reading import numbers, pages_of, values


class TestFailures:
    @pytest.mark.conformance(250)
    async def test_it_says_which_reader_could_not_do_what(self, reading: ItemReading) -> None:
        seen = Seen()
        source = reader(Numbers(seen, ValueError("boom")), upto=3, page_size=1)
        async with reading.open(source) as pages:
            got = [await anext(pages)]
            with pytest.raises(ReaderError) as caught:
                await anext(pages)

        assert str(caught.value) == "item reader 'Numbers' could not read page 1: ValueError: boom"
        assert (caught.value.reader, caught.value.reason) == ("Numbers", "ValueError: boom")
        assert isinstance(caught.value.__cause__, ValueError)
        assert not caught.value.retryable
        assert values(got) == [1]
        assert seen.closed == 1

    async def test_what_may_pass_is_retryable(self, reading: ItemReading) -> None:
        source = reader(Numbers(fails=ConnectionResetError("gone")), upto=3, page_size=1)

        with pytest.raises(ReaderError) as caught:
            await pages_of(reading, source)

        assert caught.value.retryable

    async def test_it_is_closed_when_its_pages_are_no_longer_wanted(
        self, reading: ItemReading
    ) -> None:
        seen = Seen()
        async with reading.open(reader(Numbers(seen), upto=9, page_size=1)) as pages:
            await anext(pages)
            assert seen.closed == 0

        assert seen.closed == 1

    async def test_a_failing_end_harms_nothing(
        self, reading: ItemReading, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Sticky(Numbers):
            async def close(self, state: At) -> None:
                raise OSError("stuck")

        assert values(await pages_of(reading, reader(Sticky, upto=2))) == [1, 2]
        assert "Sticky' could not be closed" in caplog.text

    async def test_one_that_cannot_go_on_is_closed(self, reading: ItemReading) -> None:
        seen = Seen()
        progress = ReadingProgress("nowhere", 1, 1).dump()

        with pytest.raises(InvalidOptionError, match="'nowhere' is no position"):
            await pages_of(reading, reader(Numbers(seen), upto=2), progress)

        assert seen.closed == 1

    @pytest.mark.conformance(252)
    @pytest.mark.parametrize(
        ("read", "said"),
        [
            (lambda state, limit: [1], "it gave a list, not a Read"),
            (lambda state, limit: None, "it gave None, not a Read"),
            (lambda state, limit: Read(iter([1]), state), "its items are a list_iterator"),
            (lambda state, limit: Read("abc", state), "its items are a str"),
            (lambda state, limit: Read([1, 2, 3], state), "3 items, and was asked for at most 2"),
        ],
    )
    async def test_what_breaks_the_contract_is_named(
        self, reading: ItemReading, read: Any, said: str
    ) -> None:
        source = reader(function_reader(init=lambda config, deps: 0, read=read), page_size=2)

        with pytest.raises(ReaderError, match=said):
            await pages_of(reading, source)

    async def test_a_position_that_is_not_json_is_refused_with_its_page(
        self, reading: ItemReading
    ) -> None:
        class Odd(Numbers):
            def checkpoint(self, state: At) -> JsonValue:
                return {1, 2}  # type: ignore[return-value]

        with pytest.raises(ReaderError, match=r"tell where page 0 ends: .*not JSON serializable"):
            await pages_of(reading, reader(Odd, upto=1))

    async def test_progress_of_something_else_is_refused(self, reading: ItemReading) -> None:
        for wrong in ({}, {"page_index": 1}, {**ReadingProgress().dump(), "more": 1}):
            with pytest.raises(InvalidOptionError, match="not the progress of an item reader"):
                await pages_of(reading, numbers(), wrong)


def test_a_reader_without_read_is_no_reader() -> None:
    class Half(ItemReader[int]):
        async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> int:
            return 0

    with pytest.raises(TypeError, match="read"):
        Half()  # type: ignore[abstract]
