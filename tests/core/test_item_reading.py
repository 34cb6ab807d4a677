"""Pages of a reader, their progress, their limits, and what happens when it fails."""

import json
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest

from flowstone import reader
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.item_pages import ItemPage, ReadingStatus
from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.errors import InvalidOptionError, NotRegisteredError, ReaderError
from flowstone.core.function_reader import function_reader
from flowstone.core.item_reading import STALLED_READS, ItemReading
from flowstone.core.json_value import JsonValue
from flowstone.core.reading_progress import ReadingProgress
from flowstone.core.registries import in_memory
from flowstone.core.resources import Env
from flowstone.core.telemetry import Telemetry
from tests.core.numbers_reader import At, Numbers, Seen

Progress = Mapping[str, JsonValue]


@pytest.fixture
def reading() -> ItemReading:
    return ItemReading(in_memory().readers, ErrorNormalizer(), Telemetry())


async def pages_of(
    reading: ItemReading, source: Any, progress: Progress | None = None, **options: Any
) -> list[ItemPage[Any]]:
    """Read to the end; progress crosses the border of a process."""
    kept = None if progress is None else json.loads(json.dumps(dict(progress), allow_nan=False))
    async with reading.open(source, progress=kept, **options) as pages:
        return [page async for page in pages]


def values(pages: Sequence[ItemPage[Any]]) -> list[int]:
    return [item["value"] for page in pages for item in page.items]


def numbers(upto: int = 5, **config: Any) -> ItemSource[Any]:
    return reader(Numbers, upto=upto, **config)


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


class TestConfiguration:
    @pytest.mark.conformance(507)
    async def test_the_assets_is_laid_over_the_registered(self, reading: ItemReading) -> None:
        seen = Seen()
        reading.readers.register("numbers", (Numbers(seen), {"upto": 3, "label": "a"}))

        await pages_of(reading, reader("numbers", label="b"))

        assert seen.configs == [{"upto": 3, "label": "b"}]

    @pytest.mark.conformance(508)
    async def test_an_unknown_name_lists_the_known_ones(self, reading: ItemReading) -> None:
        reading.readers.register("numbers", Numbers)

        with pytest.raises(
            NotRegisteredError,
            match=r"no item reader is registered as 'number'.*Did you mean 'numbers'",
        ):
            await pages_of(reading, reader("number"))

    async def test_limits_may_be_registered_too(self, reading: ItemReading) -> None:
        reading.readers.register("numbers", (Numbers, {"upto": 9, "max_items": 4}))

        assert values(await pages_of(reading, reader("numbers"))) == [1, 2, 3, 4]
        assert values(await pages_of(reading, reader("numbers", max_items=2))) == [1, 2]

    @pytest.mark.conformance(262)
    async def test_functions_are_called_for_their_values_at_any_depth(
        self, reading: ItemReading
    ) -> None:
        given: list[Mapping[str, object]] = []

        class Kept(Numbers):
            kept_functions = frozenset({"choose"})

            async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> At:
                given.append(config)
                return At(0, even_only=False)

        async def later(deps: Mapping[str, object]) -> object:
            return deps["day"]

        def choose(row: object) -> object:
            return row

        source = reader(
            Kept,
            bucket=lambda deps: f"b-{deps['day']}",
            nested={"list": [later, {"deep": lambda: 1}], "type": int},
            choose=choose,
        )
        await pages_of(reading, source, deps={"day": 7})

        assert given == [
            {
                "bucket": "b-7",
                "nested": {"list": [7, {"deep": 1}], "type": int},
                "choose": choose,
            }
        ]

    async def test_environment_variables_are_looked_up_at_any_depth(
        self, reading: ItemReading, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = Seen()
        monkeypatch.setenv("THE_LABEL", "eu")

        await pages_of(reading, reader(Numbers(seen), upto=1, label=[{"of": Env("THE_LABEL")}]))

        assert seen.configs == [{"upto": 1, "label": [{"of": "eu"}]}]
        with pytest.raises(InvalidOptionError, match="THE_OTHER is not set"):
            await pages_of(reading, numbers(label=Env("THE_OTHER")))

    async def test_a_function_of_two_arguments_is_refused_by_its_place(
        self, reading: ItemReading
    ) -> None:
        with pytest.raises(InvalidOptionError, match=r"'label.of\[0\]' is a function of 2"):
            await pages_of(reading, numbers(label={"of": [lambda a, b: 1]}))

    def test_what_names_no_reader_is_refused(self) -> None:
        for wrong in ("", int, 3):
            with pytest.raises(InvalidOptionError, match="must be a registered name"):
                reader(wrong)  # type: ignore[arg-type]


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


def test_a_reader_without_read_is_no_reader() -> None:
    class Half(ItemReader[int]):
        async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> int:
            return 0

    with pytest.raises(TypeError, match="read"):
        Half()  # type: ignore[abstract]
