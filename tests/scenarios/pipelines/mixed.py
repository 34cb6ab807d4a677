"""
A router, a scatter and a signal gate in parallel branches, and an approval, in one run.

Each function opens the gate ``in-<name>`` when it begins, and goes on at ``out-<name>``.
"""

from dataclasses import dataclass

from flowstone import Dep, Pipeline
from flowstone.plugins.checkpoints import NeedsApproval, approval
from flowstone.plugins.parallel import Branch, parallel
from flowstone.plugins.routing import FirstOf, choice, route, routed_from
from flowstone.plugins.scatter import Results, scatter
from flowstone.plugins.signal_gate import Wait, signal_gate
from tests.scenarios.ledger import Ledger

TOKEN = "lots"
LOTS = [3, 1, 2]

mixed = Pipeline("mixed")


@dataclass(frozen=True)
class Confirmation:
    by: str


async def held(name: str) -> None:
    """Tell that a function has begun, and wait until it may go on."""
    ledger = Ledger.of_this_process()
    ledger.open_gate(f"in-{name}")
    await ledger.pass_gate(f"out-{name}")


def is_bulk(lots: list[int]) -> bool:
    return len(lots) > 1


@mixed.asset
@route(choice("bulk", when=is_bulk), default="single")
async def desk() -> list[int]:
    await held("desk")
    return LOTS


def each_lot() -> list[int]:
    return LOTS


async def total(results: Results[int, int]) -> int:
    return sum([it.value async for it in results])


@mixed.asset
@scatter(each_lot, gather=total)
async def priced(lot: int) -> int:
    await held("priced")
    return 10 * lot


async def on_confirmed(payload: Confirmation) -> str:
    await held("on_confirmed")
    return payload.by


@mixed.asset
@signal_gate(on_signal=on_confirmed)
async def confirmed() -> Wait:
    return Wait(TOKEN)


@mixed.asset
@routed_from(desk, "bulk")
@parallel()
async def bulk(total: int = Branch(priced), by: str = Branch(confirmed)) -> str:
    await held("bulk")
    return f"{total}, confirmed by {by}"


@mixed.asset
@routed_from(desk, "single")
async def single() -> str:
    await held("single")
    return "nothing"


@mixed.asset
@approval(approvers=["risk"])
async def trade(found: str = FirstOf(bulk, single)) -> NeedsApproval[str]:
    return NeedsApproval(found, "large")


@mixed.asset
async def booked(trade: str = Dep(trade)) -> str:
    await held("booked")
    return trade
