"""Signals: one, the same again, or several different ones at once, of which one counts."""

import asyncio

from flowstone.plugins.signal_gate import Answered, GateCoordinator, SignalRefusedError, signal
from tests.chaos.client import Client

MEAN_SECONDS = 0.5


async def drive(client: Client) -> None:
    await signal_some(client, 0.4)
    await client.pause(MEAN_SECONDS)


async def signal_some(client: Client, share: float) -> None:
    """Signal such a share of the gates that are open."""
    gates = client.app.coordinator(GateCoordinator)
    found = await client.attempt(lambda: gates.waiting(limit=100)) or []
    for gate in found:
        if client.chance.random() < share:
            count = client.chance.choice([1, 1, 2, 3])
            await asyncio.gather(*(send(client, gate.token) for _ in range(count)))


async def send(client: Client, token: str) -> None:
    """Send a signal, some of them twice; one whose reply was lost may have been heard."""
    payload = client.text("signal")
    client.asked.signals[payload] = (token, "unknown")

    async def say() -> Answered:
        return await signal(client.app, token, payload)

    for _ in range(client.chance.choice([1, 1, 2])):
        try:
            answered = await client.attempt(say)
        except SignalRefusedError as error:
            client.asked.signals[payload] = (token, error.code)
            return
        if answered is not None:
            client.asked.signals[payload] = (token, answered.answer.value)
