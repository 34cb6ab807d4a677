"""
One run with everything that decides and waits in it, in memory and on Postgres.

::

    order ─▶ desk (router) ─▶ bulk: parallel of a scatter and a signal gate
                           └▶ single
    FirstOf(bulk, single) ─▶ trade (approval) ─▶ booked
"""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from flowstone import Dep, FlowStone, Pipeline, RunFailedError, RunWaiting
from flowstone.cli.run_graph import notes_of_run
from flowstone.plugins.checkpoints import NeedsApproval, approval, approve, list_approvals, reject
from flowstone.plugins.parallel import Branch, parallel
from flowstone.plugins.routing import FirstOf, choice, route, routed_from
from flowstone.plugins.scatter import Results, scatter
from flowstone.plugins.signal_gate import Wait, signal, signal_gate
from tests.application.stage import Stage, drain, statuses
from tests.plugins.conftest import (  # fixtures
    admin,
    empty_stage,
    shared_database,
    stage,
    template_database,
)

__all__ = ["admin", "empty_stage", "shared_database", "stage", "template_database"]

LOTS = [3, 1, 2, 2_000]


@dataclass(frozen=True)
class Order:
    lots: list[int]


@dataclass(frozen=True)
class Confirmation:
    by: str


@dataclass(frozen=True)
class Trade:
    total: int
    confirmed_by: str


@dataclass
class Called:
    """How often each function was called."""

    times: Counter[str] = field(default_factory=Counter)

    def note(self, name: str) -> None:
        self.times[name] += 1


def trades(called: Called, lots: list[int]) -> Pipeline:
    p = Pipeline("trades")

    @p.asset
    async def order() -> Order:
        called.note("order")
        return Order(lots)

    def is_bulk(order: Order) -> bool:
        return len(order.lots) > 1

    @p.asset
    @route(choice("bulk", when=is_bulk), default="single")
    async def desk(order: Order = Dep(order)) -> Order:
        called.note("desk")
        return order

    async def each_lot(order: Order = Dep(order)) -> list[int]:
        return order.lots

    async def total(results: Results[int, int]) -> int:
        called.note("total")
        return sum([it.value async for it in results])

    @p.asset
    @scatter(each_lot, gather=total)
    async def priced(lot: int) -> int:
        called.note("priced")
        return 10 * lot

    async def on_confirmed(payload: Confirmation) -> str:
        called.note("on_confirmed")
        return payload.by

    @p.asset
    @signal_gate(on_signal=on_confirmed, timeout="1h")
    async def confirmed(order: Order = Dep(order)) -> Wait:
        called.note("confirmed")
        return Wait(f"lots-{len(order.lots)}")

    @p.asset
    @routed_from(desk, "bulk")
    @parallel(timeout="2h")
    async def bulk(total: int = Branch(priced), by: str = Branch(confirmed)) -> Trade:
        called.note("bulk")
        return Trade(total, by)

    @p.asset
    @routed_from(desk, "single")
    async def single(order: Order = Dep(order)) -> Trade:
        called.note("single")
        return Trade(10 * order.lots[0], "nobody")

    @p.asset
    @approval(timeout="2d", approvers=["risk"])
    async def trade(found: Trade = FirstOf(bulk, single)) -> Trade | NeedsApproval[Trade]:
        called.note("trade")
        return NeedsApproval(found, "large") if found.total > 1_000 else found

    @p.asset
    async def booked(trade: Trade = Dep(trade)) -> str:
        called.note("booked")
        return f"{trade.total}, confirmed by {trade.confirmed_by}"

    return p


async def begun(stage: Stage, called: Called) -> tuple[FlowStone, int]:
    """Return a run that has done what it can: the gate is open, and the join waits for it."""
    app = await stage.app(trades(called, LOTS))
    with pytest.raises(RunWaiting, match=r"trades\.confirmed for signal"):
        await app.run("booked")
    (run,) = await app.store.runs(limit=1)
    return app, run.run_id


async def test_it_goes_on_with_every_event_until_its_end(stage: Stage) -> None:
    called = Called()
    app, run_id = await begun(stage, called)
    assert await statuses(app, run_id) == {
        "order": "succeeded",
        "desk": "succeeded",
        "priced": "succeeded",
        "confirmed": "waiting",
        "bulk": "waiting",
        "single": "skipped",
        "trade": "pending",
        "booked": "pending",
    }

    await signal(app, f"lots-{len(LOTS)}", Confirmation("Ada"))
    await drain(app)
    assert (await statuses(app, run_id))["trade"] == "waiting"
    (asked,) = await list_approvals(app, approver="risk")
    await approve(app, asked.id, by="ann", groups=["risk"])
    await drain(app)

    assert await app.finish(app.handle(run_id)) == "20060, confirmed by Ada"
    assert called.times == {
        **dict.fromkeys(
            ("order", "desk", "total", "confirmed", "on_confirmed", "bulk", "trade", "booked"), 1
        ),
        "priced": len(LOTS),
    }


async def test_its_graph_shows_what_was_decided_skipped_and_waited_for(stage: Stage) -> None:
    app, run_id = await begun(stage, Called())

    notes = await notes_of_run(app, run_id)

    assert notes["trades.desk"] == "succeeded bulk (is_bulk)"
    assert notes["trades.single"] == "skipped"
    assert notes["trades.bulk"].startswith("waiting for branches")
    assert notes["trades.confirmed"].startswith("waiting for signal")
    assert notes["trades.trade"] == "pending"


async def test_each_step_may_be_taken_by_another_application(stage: Stage) -> None:
    called = Called()
    _, run_id = await begun(stage, called)

    second = await stage.app(trades(called, LOTS))
    await signal(second, f"lots-{len(LOTS)}", Confirmation("Ada"))
    third = await stage.app(trades(called, LOTS))
    await drain(third)
    (asked,) = await list_approvals(second)
    await approve(third, asked.id, by="ann", groups=["risk"])
    await drain(second)

    assert await third.finish(third.handle(run_id)) == "20060, confirmed by Ada"
    assert called.times["priced"] == len(LOTS)


async def test_a_no_ends_it(stage: Stage) -> None:
    app, run_id = await begun(stage, Called())
    await signal(app, f"lots-{len(LOTS)}", Confirmation("Ada"))
    await drain(app)
    (asked,) = await list_approvals(app)

    await reject(app, asked.id, by="ann", groups=["risk"], reason="too large")
    await drain(app)

    with pytest.raises(RunFailedError, match="too large"):
        await app.finish(app.handle(run_id))


async def test_a_deadline_ends_it(stage: Stage) -> None:
    app, run_id = await begun(stage, Called())

    await stage.advance("61m")
    await drain(app)

    stood = await statuses(app, run_id)
    assert (stood["confirmed"], stood["bulk"]) == ("failed", "failed")
    assert (stood["trade"], stood["booked"]) == ("failed", "upstream_failed")


async def test_cancelling_it_leaves_nothing_that_waits(stage: Stage) -> None:
    app, run_id = await begun(stage, Called())

    await app.handle(run_id).cancel()
    await drain(app)

    stood = await statuses(app, run_id)
    assert set(stood.values()) <= {"succeeded", "skipped", "cancelled"}
    assert (await app.store.run(run_id)).status == "cancelled"
    assert await list_approvals(app) == []


async def test_the_other_way_needs_nobody(stage: Stage) -> None:
    called = Called()
    app = await stage.app(trades(called, [5]))

    assert await app.run("booked") == "50, confirmed by nobody"
    run = (await app.store.runs(limit=1))[0]
    stood = await statuses(app, run.run_id)
    assert stood["bulk"] == "skipped"
    assert not {"priced", "confirmed", "bulk"} & set(called.times)
