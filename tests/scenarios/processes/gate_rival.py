"""
Signals gates, again and again in an order of its own, until each has had its answer.

``{"dsn": …, "tokens": {token: run id to cancel now and then, or null}, "name": …, "seed": …}``.
Prints the tokens whose signal was accepted, as one JSON line.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from datetime import timedelta

from flowstone import FlowStone
from flowstone.plugins.signal_gate import Answer, Gate, GateCoordinator, SignalRefusedError, signal
from tests.scenarios.pipelines.gates import gates
from tests.scenarios.processes.life import argument, end_with_the_test


async def rival(dsn: str, tokens: Mapping[str, int | None], name: str, seed: int) -> None:
    end_with_the_test()
    chance = random.Random(seed)
    accepted: list[str] = []
    async with FlowStone(gates, dsn=dsn) as app:

        def is_too_soon(gate: Gate) -> bool:
            """Whether its deadline is too far away to be a rival."""
            if tokens[gate.token] is not None or not gate.is_open or gate.remaining is None:
                return False
            return gate.remaining > timedelta(milliseconds=chance.uniform(0, 40))

        async def touch(token: str) -> bool:
            """Return whether the token is done with."""
            run_id = tokens[token]
            if run_id is not None:
                handle = app.handle(run_id)
                if chance.random() < 0.3:
                    await handle.cancel()
                if (await handle.status()).status.is_terminal:
                    return True
            gate = await app.coordinator(GateCoordinator).find(token)
            if gate is None or is_too_soon(gate):
                return False
            try:
                answered = await signal(app, token, name)
            except SignalRefusedError:
                return True
            if answered.answer is Answer.ACCEPTED:
                accepted.append(token)
            return True

        left = list(tokens)
        while left:
            chosen = [token for token in left if chance.random() < 0.03]
            done = await asyncio.gather(*map(touch, chosen))
            over = {token for token, is_done in zip(chosen, done, strict=True) if is_done}
            left = [token for token in left if token not in over]
    print(json.dumps(accepted), flush=True)


if __name__ == "__main__":
    given = argument()
    asyncio.run(rival(given["dsn"], given["tokens"], given["name"], given["seed"]))
