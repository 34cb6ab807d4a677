"""
One of several who decide about the same approvals: ``{"dsn": …, "by": …, "does": …, "seed": 1}``.

One approval each is left to one of them alone, so that each has something to decide. It opens the
gate ``ready-<by>``, begins with the gate ``decide``, does ``approve``, ``modify``,
``reject`` or ``cancel`` to each approval, in an order of its own, and prints as JSON the ids of
those that it has decided.
"""

import asyncio
import json
import random

from flowstone import FlowStone
from flowstone.plugins.checkpoints import (
    Approval,
    ApprovalClosedError,
    approve,
    list_approvals,
    reject,
)
from tests.scenarios.ledger import Ledger
from tests.scenarios.processes.life import argument, end_with_the_test

AT_ONCE = 4
LEFT_TO = {2: "approve", 4: "modify", 8: "reject", 6: "cancel"}
"""Of those that have no deadline."""


async def decide(app: FlowStone, it: Approval, by: str, does: str) -> bool:
    """Return whether it was this one who decided."""
    if LEFT_TO.get(int(it.partition), does) != does:
        return False
    try:
        match does:
            case "approve":
                await approve(app, it.id, by=by)
            case "modify":
                await approve(app, it.id, by=by, value=f"modified {it.partition}")
            case "reject":
                await reject(app, it.id, by=by, reason="no")
            case _ if int(it.partition) % 3:
                return False  # the others are to see what was decided without
            case _:
                await app.handle(it.run_id).cancel()
                return False
    except ApprovalClosedError:
        return False
    return True


async def main(dsn: str, by: str, does: str, seed: int) -> None:
    end_with_the_test()
    ledger = Ledger.of_this_process()
    async with FlowStone([], dsn=dsn, plugins=["checkpoints"]) as app:
        found = [*await list_approvals(app, limit=10_000)]
        random.Random(seed).shuffle(found)
        ledger.open_gate(f"ready-{by}")
        await ledger.pass_gate("decide")
        decided: list[int] = []

        async def some(place: int) -> None:
            mine = found[place::AT_ONCE]
            decided.extend([it.id for it in mine if await decide(app, it, by, does)])

        await asyncio.gather(*map(some, range(AT_ONCE)))
    print(json.dumps(decided), flush=True)


if __name__ == "__main__":
    given = argument()
    asyncio.run(main(given["dsn"], given["by"], given["does"], given["seed"]))
