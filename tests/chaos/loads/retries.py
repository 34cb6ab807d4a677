"""What was asked for once is asked for again, whatever became of it."""

from tests.chaos.client import Client

MEAN_SECONDS = 2.0


async def drive(client: Client) -> None:
    app = client.app
    runs = [run_id for run_id, load in client.asked.runs.items() if load != "ticks"]
    if runs:
        again = client.chance.choice(runs[-50:])
        handle = await client.attempt(lambda: app.retry(again))
        if handle is not None:
            client.asked.runs[handle.run_id] = "retries"
    await client.pause(MEAN_SECONDS)
