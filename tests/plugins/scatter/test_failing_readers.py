"""Readers, inputs or stores that fail half way: the scatter fails and says why."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from flowstone import Dep, FlowStone, Pipeline, RunFailedError, reader
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.contracts.store import Key
from flowstone.core.errors import DatabaseError
from flowstone.plugins.scatter import Results, scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.ending import MOST_ATTEMPTS
from flowstone.plugins.scatter.records import BarrierState, PumpTurn, Turned
from tests.application.stage import Stage
from tests.core.numbers_reader import Numbers, Seen


def pipeline(of: Numbers, select: Callable[[Any], Any] | None = None) -> Pipeline:
    p = Pipeline("p")

    def numbers() -> ItemSource[Any]:
        return reader(of, upto=5)

    given: Mapping[str, Any] = {} if select is None else {"select": select}

    @p.asset
    @scatter(numbers, batch_size=2, **given)
    async def each(number: object) -> None: ...

    return p


async def failure(app: FlowStone) -> str:
    with pytest.raises(RunFailedError) as caught:
        await app.run("each")
    [latest] = await app.store.history(Key("p.each", ""), limit=1)
    status = await app.coordinator(ScatterCoordinator).status(latest.id)
    assert status.state is BarrierState.FAILED
    return str(caught.value)


@pytest.mark.conformance(250)
async def test_a_reader_that_fails_half_way_fails_the_scatter(stage: Stage) -> None:
    seen = Seen()
    app = await stage.app(pipeline(Numbers(seen, ValueError("boom"))))

    said = await failure(app)

    assert "item reader 'Numbers' could not read page 1: ValueError: boom" in said
    assert seen.closed == 1


@pytest.mark.conformance(253)
async def test_an_item_that_is_no_json_fails_the_scatter_and_closes_the_reader(
    stage: Stage,
) -> None:
    seen = Seen()
    app = await stage.app(pipeline(Numbers(seen), lambda it: {"no": object()}))

    said = await failure(app)

    assert "$.no" in said
    assert seen.closed == 1


async def test_items_that_exit_fail_the_scatter_and_nothing_else(stage: Stage) -> None:
    p = Pipeline("p")

    def numbers() -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    @p.asset
    @scatter(numbers)
    async def each(number: int) -> None: ...

    said = await failure(await stage.app(p))

    assert "its items could not be read" in said
    assert "SystemExit" in said


async def test_a_function_whose_input_cannot_be_read_fails_the_scatter(stage: Stage) -> None:
    p = Pipeline("p")

    @p.asset
    async def text() -> str:
        return "no number"

    @p.asset
    @scatter([1])
    async def each(number: int, given: int = Dep(text)) -> None:  # type: ignore[assignment]
        ...

    said = await asyncio.wait_for(failure(await stage.app(p)), 20)

    assert "its function could not be prepared" in said


async def test_what_the_store_refuses_again_and_again_fails_the_scatter(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowstone.core.executor.ASSISTANT_DELAY", timedelta(0))
    p = Pipeline("p")
    calls = 0

    @p.asset
    @scatter([1])
    async def each(number: int) -> None:
        nonlocal calls
        calls += 1

    app = await stage.app(p)
    coordinator = app.coordinator(ScatterCoordinator)
    turn_of = coordinator.turn

    async def turn(turn: PumpTurn) -> Turned:
        if turn.outcomes:
            raise DatabaseError("too large", sqlstate="54000")
        return await turn_of(turn)

    monkeypatch.setattr(coordinator, "turn", turn)

    said = await asyncio.wait_for(failure(app), 20)

    assert "what its items came to could not be stored: too large" in said
    assert calls == MOST_ATTEMPTS


async def test_a_page_whose_statement_is_cancelled_is_inserted_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowstone.core.executor.ASSISTANT_DELAY", timedelta(0))
    p = Pipeline("p")

    async def total(results: Results[int, int]) -> int:
        return sum([it async for it in results.values()])

    @p.asset
    @scatter([1, 2], gather=total)
    async def each(number: int) -> int:
        return number

    app = await stage.app(p)
    coordinator = app.coordinator(ScatterCoordinator)
    insert_of, cancelled = coordinator.insert, list[object]()

    async def insert(*arguments: Any, **options: Any) -> Any:
        if not cancelled:
            cancelled.append(arguments)
            raise DatabaseError("canceling statement due to user request", sqlstate="57014")
        return await insert_of(*arguments, **options)

    monkeypatch.setattr(coordinator, "insert", insert)

    assert await asyncio.wait_for(app.run(each), 60) == 3
    assert len(cancelled) == 1
