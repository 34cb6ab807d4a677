"""Pages of a reader, their progress and their limits."""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest

from flowstone import reader
from flowstone.core.contracts.item_pages import ItemPage, ReadingStatus
from flowstone.core.contracts.item_reader import Read
from flowstone.core.errors import InvalidOptionError, NotRegisteredError, ReaderError
from flowstone.core.function_reader import function_reader
from flowstone.core.item_reading import STALLED_READS, ItemReading
from flowstone.core.telemetry import Telemetry
from tests.core.numbers_reader import Numbers, Seen
from tests.core.reading import Progress, numbers, pages_of, values


class TestPages:
    @pytest.mark.conformance(246)
    async def test_they_come_in_order_and_the_last_says_so(self, reading: ItemReading) -> None:
        pages = await pages_of(reading, numbers(3, page_size=2))

        assert [[dict(it) for it in page.items] for page in pages] == [
            [{"value": 1}, {"value": 2}],
            [{"value": 3}],
        ]
        assert [page.index for page in pages] == [0, 1]
        assert [page.is_last for page in pages] == [False, True]

    async def test_progress_says_how_far_each_page_has_come(self, reading: ItemReading) -> None:
        first, second = await pages_of(reading, numbers(3, page_size=2))

        assert first.progress == {
            "position": {"position": 2},
            "page_index": 1,
            "items_read": 2,
            "is_done": False,
        }
        assert second.progress["items_read"] == 3
        assert second.progress["is_done"] is True

    @pytest.mark.parametrize("done", [1, 2, 3, 4])
    @pytest.mark.parametrize("size", [1, 2, 1000])
    async def test_reading_goes_on_after_any_page(
        self, reading: ItemReading, done: int, size: int
    ) -> None:
        before = (await pages_of(reading, numbers(page_size=1)))[:done]

        after = await pages_of(reading, numbers(page_size=size), before[-1].progress)

        assert values([*before, *after]) == [1, 2, 3, 4, 5]
        assert after[0].index == done
        assert after[-1].progress["items_read"] == 5

    async def test_what_was_read_to_the_end_is_not_opened_again(self, reading: ItemReading) -> None:
        seen = Seen()
        last = (await pages_of(reading, numbers(3)))[-1]

        async with reading.open(reader(Numbers(seen), upto=3), progress=last.progress) as pages:
            assert pages.status is ReadingStatus.COMPLETE
            assert [page async for page in pages] == []
            assert pages.total == 3
        assert seen == Seen()

    async def test_pages_without_items_end_nothing_and_are_not_counted(
        self, reading: ItemReading
    ) -> None:
        pages = await pages_of(reading, numbers(6, even_only=True, page_size=1))

        assert [[it["value"] for it in page.items] for page in pages] == [
            [], [2], [], [4], [], [6],
        ]  # fmt: skip
        assert [page.index for page in pages] == [0, 0, 1, 1, 2, 2]
        assert [page.progress["position"] for page in pages[:2]] == [
            {"position": 1},
            {"position": 2},
        ]

    async def test_a_reader_that_stands_still_is_not_read_for_ever(
        self, reading: ItemReading
    ) -> None:
        async def nothing(state: None, limit: int) -> Read[None]:
            return Read([], None)

        source = reader(function_reader(init=lambda config, deps: None, read=nothing))

        with pytest.raises(ReaderError, match=rf"{STALLED_READS} reads gave nothing.*is_last=True"):
            await pages_of(reading, source)

    async def test_a_reader_may_change_what_it_gave_as_its_position(
        self, reading: ItemReading
    ) -> None:
        def read(state: dict[str, int], limit: int) -> Read[dict[str, int]]:
            state["page"] += 1
            found = [{"value": state["page"]}] if state["page"] > STALLED_READS else []
            return Read(found, state, is_last=state["page"] > STALLED_READS + 1)

        changing = function_reader(
            init=lambda config, deps: {"page": 0},
            read=read,
            checkpoint=lambda state: state,  # type: ignore[arg-type, return-value]
            restore=lambda state, kept: state,
        )

        pages = await pages_of(reading, reader(changing))

        # All but two are empty, and each stands elsewhere: that is no reader which stands still.
        positions = [page.progress["position"] for page in pages]
        assert positions == [{"page": number} for number in range(1, STALLED_READS + 3)]

    async def test_a_sequence_need_not_give_slices(self, reading: ItemReading) -> None:
        pages = await pages_of(reading, deque([1, 2, 3]), page_size=2)

        assert [list(page.items) for page in pages] == [[1, 2], [3]]

    async def test_a_total_is_known_where_the_reader_counts(self, reading: ItemReading) -> None:
        async with reading.open(numbers(5)) as pages:
            assert pages.total == 5
        async with reading.open(numbers(5, max_items=3)) as pages:
            assert pages.total == 3
        async with reading.open(numbers(5, even_only=True)) as pages:
            assert pages.total is None


class TestLimits:
    @pytest.mark.conformance(254)
    @pytest.mark.parametrize(
        ("wanted", "configured", "expected"),
        [(500, 200, 200), (200, 500, 200), (500, None, 500), (None, 200, 200), (None, None, 1000)],
    )
    async def test_the_smaller_page_size_counts(
        self, reading: ItemReading, wanted: int | None, configured: int | None, expected: int
    ) -> None:
        seen = Seen()
        given = {} if configured is None else {"page_size": configured}

        await pages_of(reading, reader(Numbers(seen), upto=1, **given), page_size=wanted)

        assert seen.limits == [expected]

    @pytest.mark.conformance(255)
    async def test_max_items_cuts_the_last_page(self, reading: ItemReading) -> None:
        seen = Seen()

        pages = await pages_of(reading, reader(Numbers(seen), upto=10, max_items=3, page_size=2))

        assert values(pages) == [1, 2, 3]
        assert seen.limits == [2, 1]
        assert (pages[-1].is_last, pages[-1].progress["is_done"]) == (True, True)

    async def test_max_items_holds_across_restarts(self, reading: ItemReading) -> None:
        source = numbers(10, max_items=3, page_size=1)
        got: list[ItemPage[Any]] = []
        progress: Progress | None = None
        while progress is None or not got[-1].is_last:
            async with reading.open(source, progress=progress) as pages:
                got.append(await anext(aiter(pages)))
            progress = json.loads(json.dumps(dict(got[-1].progress)))

        assert values(got) == [1, 2, 3]

    @pytest.mark.conformance(247, 248, 270)
    async def test_max_batches_pauses_and_more_of_them_go_on(self, reading: ItemReading) -> None:
        async with reading.open(numbers(3, page_size=1, max_batches=1)) as paused:
            first = [page async for page in paused]
            assert paused.status is ReadingStatus.PAUSED
        assert values(first) == [1]
        assert first[0].is_last
        assert first[0].progress["is_done"] is False
        assert first[0].progress["position"] == {"position": 1}

        rest = await pages_of(reading, numbers(3, page_size=1), first[0].progress)

        assert values(rest) == [2, 3]
        assert rest[-1].progress["items_read"] == 3

    async def test_max_batches_holds_across_restarts(self, reading: ItemReading) -> None:
        source = numbers(10, page_size=1, max_batches=2)
        async with reading.open(source) as pages:
            first = await anext(aiter(pages))

        rest = await pages_of(reading, source, first.progress)
        none = await pages_of(reading, source, rest[-1].progress)

        assert (values(rest), values(none)) == ([2], [])

    async def test_pages_without_items_are_no_batches(self, reading: ItemReading) -> None:
        pages = await pages_of(reading, numbers(10, even_only=True, page_size=1, max_batches=2))

        assert values(pages) == [2, 4]

    @pytest.mark.parametrize("name", ["page_size", "max_items", "max_batches"])
    @pytest.mark.parametrize("value", [0, -1, True, "3", 1.5])
    async def test_what_is_no_limit_is_refused(
        self, reading: ItemReading, name: str, value: object
    ) -> None:
        with pytest.raises(InvalidOptionError, match=f"{name}=.*whole number above zero"):
            await pages_of(reading, reader(Numbers, upto=1, **{name: value}))


class TestTelemetry:
    @pytest.mark.conformance(260)
    async def test_beginning_pages_and_end_are_told(self, reading: ItemReading) -> None:
        heard: list[tuple[str, Mapping[str, float], Mapping[str, object]]] = []
        assert isinstance(reading.telemetry, Telemetry)
        reading.telemetry.attach(lambda *event: heard.append(event))

        await pages_of(reading, numbers(3, page_size=2), asset="p.docs", run_id=7)

        facts = {"asset": "p.docs", "run_id": 7, "reader": "Numbers"}
        assert [
            (name.removeprefix("flowstone.item_reader."), about) for name, _, about in heard
        ] == [
            ("init", facts),
            ("read", {**facts, "batch_index": 0}),
            ("read", {**facts, "batch_index": 1}),
            ("complete", facts),
        ]
        assert [measured.get("count") for _, measured, _ in heard] == [None, 2, 1, 3]
        assert all(measured["duration"] >= 0 for _, measured, _ in heard[:3])

    @pytest.mark.conformance(270)
    async def test_a_pause_is_no_end(self, reading: ItemReading) -> None:
        heard: list[str] = []
        assert isinstance(reading.telemetry, Telemetry)
        reading.telemetry.attach(lambda name, *_: heard.append(name))

        await pages_of(reading, numbers(3, page_size=1, max_batches=1))

        assert "flowstone.item_reader.complete" not in heard

    async def test_failures_are_told(self, reading: ItemReading) -> None:
        heard: list[object] = []
        assert isinstance(reading.telemetry, Telemetry)
        reading.telemetry.attach(
            lambda name, _, about: heard.append(about["error"]), ["item_reader.error"]
        )
        failing = reader(Numbers(fails=ValueError("boom")), upto=3, page_size=1)

        for source in (failing, reader("nobody")):
            with pytest.raises((ReaderError, NotRegisteredError)):
                await pages_of(reading, source)

        assert [type(it) for it in heard] == [ReaderError, NotRegisteredError]
