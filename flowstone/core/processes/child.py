"""One child process, as its worker sees it: started, asked, killed."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from flowstone.core.errors import ProcessDiedError
from flowstone.core.processes import child_logging, messages
from flowstone.core.processes.messages import Message

BUFFER_BYTES = 1024 * 1024
LAST_SECONDS = 6.0
"""How long a child may take to exit after its socket was closed; a little longer than it gives
itself."""


class Child:
    """
    A process and our end of the socket to it; belongs to the event loop that started it.

    A question that is not waited for to its end kills the process: what it does could not be
    stopped otherwise, and its answer would be taken for that to the next one.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._is_killed = False
        self._exit = asyncio.create_task(self._mind_exit())
        self._loop = asyncio.get_running_loop()
        self.pid = process.pid

    @classmethod
    async def start(cls) -> Self:
        """
        Start a process that waits to be set up.

        Raises:
            ProcessDiedError: The system does not let us.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *_command(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a signal from the terminal is the worker's to obey
            )
        except OSError as error:
            ours.close()
            raise ProcessDiedError(f"cannot be started: {error}") from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        # Returns at once: the socket is connected.
        reader, writer = await asyncio.open_connection(sock=ours, limit=BUFFER_BYTES)
        return cls(process, reader, writer)

    @property
    def is_well(self) -> bool:
        """Whether it can be asked, as far as is known here."""
        return not (self._is_killed or self._exit.done() or self._reader.at_eof())

    @property
    def is_ours(self) -> bool:
        """Whether it was started by the event loop that runs now."""
        return self._loop is asyncio.get_running_loop()

    async def ask(self, message: Message) -> Message:
        """
        Return the answer; what the child logs meanwhile is logged here.

        Raises:
            ProcessDiedError: The process ended instead.
        """
        try:
            self._writer.writelines(messages.pack(message))
            await self._writer.drain()
            while True:
                answer = await self._read()
                if answer.head["is"] != "log":
                    return answer
                child_logging.handle(answer.head["facts"])
        except (ConnectionError, asyncio.IncompleteReadError):
            raise await self._death() from None
        except BaseException:
            self.kill()
            raise

    async def _read(self) -> Message:
        read = self._reader.readexactly
        listed = await read(messages.sizes_bytes(await read(messages.COUNT_BYTES)))
        return messages.unpack([await read(size) for size in messages.sizes(listed)])

    async def _death(self) -> ProcessDiedError:
        await self.end()
        code = self._process.returncode or 0
        if code < 0:
            return ProcessDiedError(f"was killed by {_signal_name(-code)}")
        return ProcessDiedError(f"ended with exit code {code}")

    async def _mind_exit(self) -> None:
        await self._process.wait()
        # A fork of the author's may have our socket, which does not end then.
        self._kill_group()
        self._writer.transport.abort()

    def kill(self) -> None:
        """End it and what it has started at once; returns before it has ended."""
        self._is_killed = True
        if self._process.returncode is None:
            self._kill_group()
        if not self._loop.is_closed():
            self._writer.close()

    async def end(self) -> None:
        """Let it end by itself, or else kill it; return when it has ended."""
        self._writer.close()
        ended, _ = await asyncio.wait([self._exit], timeout=LAST_SECONDS)
        if not ended:
            self.kill()
            await asyncio.wait([self._exit])

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def _command(channel: int) -> Sequence[str | bytes]:
    from multiprocessing import spawn

    known: Sequence[str | bytes] = spawn.get_command_line()
    with_flags = known[: known.index("-c")]
    path = [it for it in sys.path if isinstance(it, str)]
    program = (
        f"import sys; sys.path[:] = {path!r}; "
        f"from flowstone.core.processes.entry import main; main({channel}, {os.getpid()})"
    )
    return [*with_flags, "-c", program]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
