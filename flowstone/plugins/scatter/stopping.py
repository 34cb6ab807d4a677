"""Tasks that end together with what has begun them."""

import asyncio


async def stop_all(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended, however that is."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
