"""
One LISTEN connection per store, which turns notifications into wake-ups.

Channels are database-wide: ``flowstone#<schema>`` is ours, ``procrastinate_queue_v1#<queue>`` is
shared with stock workers, whatever their schema. So a notification only ever says "look again".
When the connection is lost everybody is woken after the reconnect, since anything may have been
missed; until then polling serves. Needs a session, so a transaction-mode PgBouncer leaves only the
polling.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import suppress

import asyncpg

from flowstone.core.contracts.health import Finding, Level
from flowstone.core.wakeups import Wakeups
from flowstone.engine.connecting import LentConnection, connect
from flowstone.engine.database_errors import ASYNCPG_ERRORS

logger = logging.getLogger(__name__)

QUEUE_CHANNEL = "procrastinate_queue_v1#"
KEEPALIVE_SECONDS = 30.0
ANSWER_SECONDS = 10.0
SHORTEST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 30.0


class Listener:
    """Keeps a connection on the channels that were asked for."""

    def __init__(self, dsn: str, schema: str, wakeups: Wakeups) -> None:
        self._dsn = dsn
        self._schema = schema
        self._wakeups = wakeups
        self._channels = {f"flowstone#{schema}"}
        self._task: asyncio.Task[None] | None = None
        # Made anew by `start`: a store may be opened again in another event loop.
        self._changed = asyncio.Event()
        self._listening = asyncio.Event()
        self._backoff = SHORTEST_BACKOFF_SECONDS
        self._is_connected = False

    async def start(self) -> None:
        """Begin to listen; returns once it does, or once the first try has failed."""
        if self._task is None:
            self._changed, self._listening = asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._keep_listening(), name="flowstone-listener")
            await self._listening.wait()

    async def stop(self) -> None:
        """Stop listening; safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def findings(self) -> Sequence[Finding]:
        """Say whether it listens; nothing when nobody has asked it to."""
        if self._task is None:
            return []
        if self._is_connected:
            return [Finding("listener", Level.OK, "wake-ups arrive")]
        message = "no LISTEN connection; polling serves instead"
        return [Finding("listener", Level.WARN, message, "give it a session, not a pooler's")]

    def add_queue(self, queue: str) -> None:
        """Listen to one more queue, as soon as the connection gets to it."""
        self._channels.add(QUEUE_CHANNEL + queue)
        self._changed.set()

    async def _keep_listening(self) -> None:
        while True:
            try:
                await self._listen()
                return
            except ASYNCPG_ERRORS as error:
                logger.warning(
                    "LISTEN connection lost (%s); polling until it is back, next try in %.1fs",
                    error,
                    self._backoff,
                )
            self._listening.set()
            await asyncio.sleep(self._backoff)
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)

    async def _listen(self) -> None:
        """Listen until the connection is lost, then raise; return where it would be in vain."""
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await connect(self._dsn)
        if type(connection) is LentConnection:  # asyncpg has its own idea of isinstance
            logger.info("A pooler is in between, which passes no notifications on: polling")
            self._listening.set()
            await connection.close(timeout=1)
            return
        connection.add_termination_listener(self._look)
        try:
            await self._catch_up(connection, set())
        finally:
            self._is_connected = False
            with suppress(*ASYNCPG_ERRORS):
                await connection.close(timeout=1)

    async def _catch_up(self, connection: asyncpg.Connection, heard: set[str]) -> None:
        while True:
            self._changed.clear()
            added = self._channels - heard
            async with asyncio.timeout(ANSWER_SECONDS):
                for channel in added:
                    await connection.add_listener(channel, self._hear)
            if added:
                # What was published between the last look and LISTEN was not heard.
                self._wakeups.publish_all()
                heard |= added
            self._is_connected = True
            self._listening.set()
            self._backoff = SHORTEST_BACKOFF_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    await self._changed.wait()
            async with asyncio.timeout(ANSWER_SECONDS):
                if await connection.fetchval("SHOW transaction_read_only") == "on":
                    # After a failover nobody notifies here any longer.
                    raise asyncpg.ReadOnlySQLTransactionError("the server became read-only")

    def _look(self, _connection: object) -> None:
        self._changed.set()

    def _hear(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        message = _parsed(payload)
        if channel.startswith(QUEUE_CHANNEL):
            if message.get("type") == "abort_job_requested":
                self._wakeups.publish("abort")
            else:
                self._wakeups.publish("queue:" + channel.removeprefix(QUEUE_CHANNEL))
            return
        for topic in ("abort", "intervention", "queues", "schedules"):
            if topic in message:
                self._wakeups.publish(topic)
        topics = message.get("topics")
        for topic in topics if isinstance(topics, list) else ():
            self._wakeups.publish(str(topic))
        if "limit" in message:
            self._wakeups.publish(f"limit:{message['limit']}")
        if "queue" in message:
            self._wakeups.publish(f"queue:{message['queue']}")
        for kind in ("run", "job"):
            ids = message.get(f"{kind}s", ())
            if not isinstance(ids, list | tuple):
                self._wakeups.publish_all()
                return
            for id_ in ids:
                self._wakeups.publish(f"{kind}:{id_}")


def _parsed(payload: object) -> dict[str, object]:
    """Anybody may notify anything; what is not ours still means that somebody should look."""
    try:
        message = json.loads(str(payload))
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
