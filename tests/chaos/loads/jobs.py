"""Jobs, one or many at once, now or after a delay, more or less urgent."""

from flowstone import FlowStone
from flowstone.core.job import JobCall
from tests.chaos.client import Client
from tests.chaos.jobs import takes_key
from tests.chaos.limited import NAMES

MEAN_SECONDS = 0.6
DELAYS = (0.0, 0.0, 0.0, 0.3, 1.5, 7.0)


def a_call(client: Client, app: FlowStone, note: str) -> JobCall[object]:
    """Return a call of some job of this application, which says what it is for."""
    all_jobs = app.definitions.jobs
    names = [it for it in sorted(all_jobs) if not takes_key(it) and it not in NAMES]
    call: JobCall[object] = all_jobs[client.chance.choice(names)].with_(note=note)
    return call


async def drive(client: Client) -> None:
    app = client.app
    notes = [client.text("job") for _ in range(client.chance.choice([1, 1, 2, 20]))]
    delay = client.chance.choice(DELAYS)
    handles = await client.attempt(
        lambda: app.enqueue_many(
            [a_call(client, app, note) for note in notes],
            delay=delay or None,
            priority=client.chance.choice([-1, 0, 0, 1]),
        )
    )
    for handle, note in zip(handles or [], notes, strict=handles is not None):
        client.asked.jobs[handle.job_id] = (note, "jobs", delay)
    await client.pause(MEAN_SECONDS)
