"""
A proxy in front of Postgres that loses replies, where the server has committed and nobody is told,
or that falls silent: it accepts everything, and nothing comes back.

It understands as much of the protocol as that takes. Messages of the server are one letter, a
length and a body: ``2`` begins the reply to a statement that runs, ``D`` is a row, ``C`` says that
it is done, and ``Z`` comes when it is committed.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from psycopg.conninfo import conninfo_to_dict, make_conninfo

TURN = b"flowstone_turn_v1"


@dataclass(slots=True)
class Reply:
    """
    The reply to one turn, complete and not yet passed on.

    Attributes:
        sent: What the client had sent for it, as it was.
        kinds: The first column of each row: ``claim``, ``refused`` …
    """

    sent: bytes = b""
    kinds: list[str] = field(default_factory=list)
    is_done: bool = False

    @property
    def is_turn(self) -> bool:
        """Tell it from what the driver asks for itself: settings, and types."""
        return self.is_done and set(self.kinds) <= {"claim", "refused", "malformed", "due"}


async def nothing(_: Reply) -> bool:
    """Lose nothing."""
    return False


class LossyProxy:
    """
    Passes connections on to the server.

    Attributes:
        lose: Asked about every reply to a turn, and may take its time: a true answer loses the
            reply, and its connection.
        lost: The replies that were lost.
        swallowed: How many notifications never came through, while `is_mute`.
        answered: How many requests the server has answered, of all connections together.
    """

    def __init__(self, server_dsn: str) -> None:
        self._server = conninfo_to_dict(server_dsn)
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._speaking: set[asyncio.Event] = set()
        self._asking: list[tuple[Reply, set[asyncio.StreamWriter]]] = []
        self._is_silent = False
        self.lose: Callable[[Reply], Awaitable[bool]] = nothing
        self.lost: list[Reply] = []
        self.answered = 0
        self.is_mute = False
        self.swallowed = 0

    @property
    def dsn(self) -> str:
        """The server's DSN, by way of this proxy."""
        server = make_conninfo("", **self._server)
        return make_conninfo(server, host="127.0.0.1", port=self._port, sslmode="disable")

    def cut_all(self) -> None:
        """Cut every connection, whatever it is doing; the server need not notice."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_asking(self, statement: bytes) -> None:
        """Cut the connections that wait for the answer to this statement, and no other."""
        for reply, writers in self._asking:
            if statement in reply.sent:
                for writer in writers:
                    writer.transport.abort()

    def fall_silent(self) -> None:
        """Hold back everything, in both directions and of new connections too, until `speak`."""
        self._is_silent = True
        for speaking in self._speaking:
            speaking.clear()

    def speak(self) -> None:
        """Pass on what was held back, and all that comes."""
        self._is_silent = False
        for speaking in self._speaking:
            speaking.set()

    def forget_connections(self) -> None:
        """Let those that are open hear nothing ever again; new ones are as they should be."""
        self.fall_silent()
        self._speaking.clear()
        self._is_silent = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["LossyProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            server.close()
            self.cut_all()

    async def _serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            from_server, to_server = await self._connect()
            ours = {to_client, to_server}
            self._writers |= ours
            reply, speaking = Reply(), asyncio.Event()
            self._asking.append((reply, ours))
            self._speaking.add(speaking)
            if not self._is_silent:
                speaking.set()
            forth = asyncio.create_task(self._forth(from_client, to_server, reply, speaking))
            back = asyncio.create_task(self._back(from_server, to_client, reply, speaking))
            await asyncio.wait([forth, back], return_when=asyncio.FIRST_COMPLETED)
            for writer in ours:
                writer.transport.abort()
            await asyncio.gather(forth, back, return_exceptions=True)
            self._writers -= ours
            self._asking.remove((reply, ours))
            self._speaking.discard(speaking)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._server.get("host", "")), int(self._server.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _forth(
        self,
        client: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        reply: Reply,
        speaking: asyncio.Event,
    ) -> None:
        while sent := await client.read(65536):
            await speaking.wait()
            reply.sent += sent
            server.write(sent)
            await server.drain()

    async def _back(
        self,
        server: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        reply: Reply,
        speaking: asyncio.Event,
    ) -> None:
        is_turn = is_running = False
        held = b""
        while True:
            letter, length = struct.unpack("!cI", await server.readexactly(5))
            body = await server.readexactly(length - 4)
            await speaking.wait()
            if letter == b"A" and self.is_mute:
                self.swallowed += 1
                continue
            held += struct.pack("!cI", letter, length) + body
            is_turn = is_turn or TURN in reply.sent
            is_running = (is_running or letter == b"2") and letter != b"Z"
            if letter == b"D":
                reply.kinds.append(_first_column(body))
            reply.is_done = reply.is_done or (letter == b"C" and body.startswith(b"SELECT"))
            if is_turn and is_running:
                continue
            if is_turn and reply.is_turn and await self.lose(reply):
                self.lost.append(reply)
                return
            if letter == b"Z":
                self.answered += 1
                reply.sent, reply.kinds, reply.is_done = b"", [], False
            client.write(held)
            await client.drain()
            held = b""


def _first_column(row: bytes) -> str:
    (length,) = struct.unpack_from("!i", row, 2)
    return row[6 : 6 + max(length, 0)].decode(errors="replace")
