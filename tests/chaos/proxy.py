"""
A bad network in front of Postgres: connections are cut amid a message, or go silent.

It knows nothing of the protocol; a reply that is cut may have been committed or not.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

LONG_BYTES = 200
"""What is longer is a statement with its data, or the reply to one."""


class Link:
    """
    One connection through the proxy.

    Attributes:
        is_listening: Whether it was asked to LISTEN.
    """

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._cut_at: asyncio.StreamWriter | None = None
        self.is_listening = False

    def cut(self) -> None:
        """Cut it now, whatever it is doing."""
        for end in self._ends:
            end.transport.abort()

    def cut_within(self, *, reply: bool) -> None:
        """Cut it amid the next long reply, or the next long statement."""
        client, server = self._ends
        self._cut_at = client if reply else server

    def fall_silent(self) -> None:
        """Pass nothing on, and let nobody know."""
        self._may_pass.clear()

    def speak(self) -> None:
        """Pass on what has come meanwhile, and go on."""
        self._may_pass.set()

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if sink is self._ends[1] and b"LISTEN " in data:
                self.is_listening = True
            await self._may_pass.wait()
            if self._cut_at is sink and len(data) > LONG_BYTES:
                sink.write(data[: len(data) // 2])
                await sink.drain()
                self.cut()
                return
            sink.write(data)
            await sink.drain()


class BadNetwork:
    """Passes connections on to the server that ``dsn`` says at the moment."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        self._server_dsn = dsn
        self._port = 0
        self.links: set[Link] = set()

    @property
    def dsn(self) -> str:
        """The server's DSN, by way of this network."""
        server = make_conninfo("", **conninfo_to_dict(self._server_dsn()))
        return make_conninfo(server, host="127.0.0.1", port=self._port, sslmode="disable")

    def some(self, chance: random.Random, share: float) -> list[Link]:
        """Return each link with this probability."""
        return [link for link in list(self.links) if chance.random() < share]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["BadNetwork"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            server.close()
            for link in list(self.links):
                link.cut()

    async def _serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        try:
            from_server, to_server = await self._connect()
        except OSError:
            to_client.transport.abort()  # the server is away
            return
        link = Link(to_client, to_server)
        self.links.add(link)
        pumps = [
            asyncio.create_task(link.pump(from_client, to_server)),
            asyncio.create_task(link.pump(from_server, to_client)),
        ]
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        link.cut()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self.links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = conninfo_to_dict(self._server_dsn())
        host, port = str(server.get("host", "")), int(server.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)
