"""
Signals gates, again and again in an order of its own, until each has had its answer.

Where a deadline or a cancel wants the gate too, it aims at the same moment; but one gate in three
it leaves to them, and signals it only when it is closed.

``{"dsn": …, "tokens": {token: run id to cancel now and then, or null}, "name": …, "seed": …}``.
Prints the tokens whose signal was accepted, as one JSON line.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from flowstone import FlowStone
from flowstone.plugins.signal_gate import Answer, GateCoordinator, SignalRefusedError, signal
from tests.scenarios.pipelines.gates import gates
from tests.scenarios.processes.life import argument, end_with_the_test


async def rival(dsn: str, tokens: Mapping[str, int | None], name: str, seed: int) -> None:
    end_with_the_test()
    chance = random.Random(seed)
    accepted: list[str] = []
    async with FlowStone(gates, dsn=dsn) as app:

        async def touch(token: str) -> bool:
            """Return whether the token is done with."""
            run_id = tokens[token]
            if run_id is not None:
                if chance.random() < 0.05 and not is_left_alone(token):
                    await app.handle(run_id).cancel()
                if (await app.handle(run_id).status()).status.is_terminal:
                    return True
            gate = await app.coordinator(GateCoordinator).find(token)
            if gate is None:
                return False
            if gate.is_open and is_left_alone(token):
                if run_id is not None:
                    await app.handle(run_id).cancel()
                return False
            if run_id is not None and chance.random() < 0.6:
                await asyncio.gather(send(token), app.handle(run_id).cancel())
                return True
            if gate.is_open and gate.remaining is not None and run_id is None:
                # About when its deadline wants it too: a signal may take long on a busy machine.
                ahead = timedelta(milliseconds=chance.uniform(-10, 150))
                await asyncio.sleep(max(0.0, (gate.remaining - ahead).total_seconds()))
            await send(token)
            return True

        async def send(token: str) -> None:
            with suppress(SignalRefusedError):
                answered = await signal(app, token, name)
                if answered.answer is Answer.ACCEPTED:
                    accepted.append(token)

        async def touch_until_done(token: str) -> None:
            while not await touch(token):
                await asyncio.sleep(chance.uniform(0, 0.05))

        await asyncio.gather(*map(touch_until_done, chance.sample([*tokens], len(tokens))))
    print(json.dumps(accepted), flush=True)


def is_left_alone(token: str) -> bool:
    """Tell whether all rivals signal this gate only when it is closed."""
    kind, number = token.split("-")
    return kind != "signals" and int(number) % 3 == 0


if __name__ == "__main__":
    given = argument()
    asyncio.run(rival(given["dsn"], given["tokens"], given["name"], given["seed"]))
