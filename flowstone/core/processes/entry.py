"""
The child's side: a loop that answers its worker, one message at a time.

A thread reads, so that the end of the socket, which is the end of the worker, ends the child also
while a function runs; and the kernel is asked for the same, for functions that do not let a thread
run. SIGINT and SIGTERM, which a terminal or a supervisor sends to everybody, are left to the
worker: it waits for what runs, or kills.
"""

import inspect
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import islice
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn, TypeVar

from flowstone.core import annotations
from flowstone.core.asset import Asset
from flowstone.core.context import Context
from flowstone.core.contracts.codec import Codec
from flowstone.core.errors import DefinitionError, TransactionError
from flowstone.core.job_context import JobContext
from flowstone.core.processes import carried_error, child_logging, messages
from flowstone.core.processes.call import Call, Encoded, Facts, Returned, dump_returned
from flowstone.core.processes.messages import Message
from flowstone.core.processes.place import MAIN, Place
from flowstone.core.processes.script_guard import importing
from flowstone.core.results import Cancel, Skip, Snooze
from flowstone.core.signature import Signature
from flowstone.core.source import Upstream
from flowstone.core.threads import without_stop_iteration

T = TypeVar("T")

LAST_SECONDS = 5.0
"""After the worker's end: how long an idle child may take to exit."""

PR_SET_PDEATHSIG = 1


def main(channel: int, parent: int) -> None:
    """
    Answer until the other end closes.

    Args:
        channel: The number of our end of the socket pair.
        parent: The worker's process id.
    """
    _end_with(parent)
    os.set_inheritable(channel, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not SIG_IGN: what the author's code starts would inherit that.
        signal.signal(number, _go_on)
    _Entry(socket.socket(fileno=channel)).run()


class _Entry:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._stream = channel.makefile("rb")
        self._received: SimpleQueue[Message | None] = SimpleQueue()
        self._unanswered = 0
        self._sending = threading.Lock()
        self._sender: int | None = None
        self._codec: Codec
        self._script: Mapping[str, str] | None = None
        self._found: dict[str, tuple[Asset[..., object], Mapping[str, object]]] = {}
        self._answers: Mapping[str, Callable[[Message], Message]] = {
            "set_up": self._set_up,
            "find": self._find,
            "call": self._call,
        }

    def run(self) -> None:
        threading.Thread(target=self._receive, name="flowstone-channel", daemon=True).start()
        while (message := self._received.get()) is not None:
            try:
                answer = self._answers[message.head["is"]](message)
            except BaseException as error:  # whatever it is, the worker judges it
                answer = Message({"is": "raised", **carried_error.dump(error)})
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):  # the author may have closed or replaced it
                    stream.flush()
            self._unanswered -= 1
            self._send(answer)

    def _receive(self) -> None:
        with suppress(Exception):  # a message that its worker's end has cut off
            while count := self._stream.read(messages.COUNT_BYTES):
                listed = self._stream.read(messages.sizes_bytes(count))
                parts = [self._stream.read(size) for size in messages.sizes(listed)]
                self._unanswered += 1
                self._received.put(messages.unpack(parts))
        if not self._unanswered:
            self._received.put(None)
            time.sleep(LAST_SECONDS)
        os.killpg(0, signal.SIGKILL)  # with what the author's code has started

    def _send(self, message: Message) -> None:
        if self._sender == threading.get_ident():
            return  # logged by a destructor while we were at it
        with self._sending, suppress(OSError):
            self._sender = threading.get_ident()
            try:
                for part in messages.pack(message):
                    self._channel.sendall(part)
            finally:
                self._sender = None

    def _set_up(self, message: Message) -> Message:
        sys.argv[:] = message.head["argv"]
        self._script = message.head["script"]
        child_logging.forward(self._send_record, message.head["levels"])
        if message.head["codec_is_in_script"]:
            self._import_script()
        self._codec = pickle.loads(message.texts[0])
        return Message({"is": "ready"})

    def _send_record(self, facts: Mapping[str, object]) -> None:
        self._send(Message({"is": "log", "facts": facts}))

    def _find(self, message: Message) -> Message:
        place = Place(**message.head["place"])
        if place.module == MAIN:
            self._import_script()
        else:
            import_module(place.module)
        asset = place.find()
        types = {it.parameter: it.annotation for it in asset.signature.own_arguments}
        types |= {it.parameter: it.annotation for it in asset.signature.arguments}
        if asset.signature.supplied:
            types = annotations.resolve(asset.function)
        self._found[place.asset] = asset, types
        return Message({"is": "found", "version": asset.code_version})

    def _import_script(self) -> None:
        from multiprocessing import spawn

        script, self._script = self._script, None
        if script is None:
            return  # a second time
        with importing(*script.values()):
            spawn.prepare(dict(script))

    def _call(self, message: Message) -> Message:
        call = Call.load(message)
        asset, types = self._found[call.facts.asset]
        arguments: dict[str, object] = {
            name: self._codec.decode(text, types.get(name, object))
            for name, text in call.supplied.items()
        }
        return dump_returned(self._returned(asset, call, arguments))

    def _returned(
        self, asset: Asset[..., object], call: Call, arguments: dict[str, object]
    ) -> Returned:
        signature = asset.signature
        inputs = iter(call.inputs)
        for argument in signature.arguments:
            if argument.parameter in arguments:
                continue
            upstreams = []
            crossed = islice(inputs, len(argument.inputs))
            for wanted, crossing in zip(argument.inputs, crossed, strict=True):
                value = None
                if crossing.text is not None:
                    value = self._codec.decode(crossing.text, wanted.annotation)
                upstreams.append(Upstream(crossing.asset, value, crossing.status))
            given = argument.source.resolve(upstreams)
            if isinstance(given, Skip | Cancel):
                return given
            arguments[argument.parameter] = given
        facts = call.facts
        if signature.context_parameter is not None:
            arguments[signature.context_parameter] = _context(signature, facts)
        if signature.config_parameter is not None and signature.config_type is not None:
            arguments[signature.config_parameter] = signature.config_type.parse(
                facts.config, self._codec, asset=facts.asset
            )
        result = without_stop_iteration(partial(signature.call, arguments))
        if isinstance(result, Skip | Snooze | Cancel):
            return result
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError("the function returned a coroutine, which nobody awaits in a process")
        return Encoded(self._codec.encode(result, max_bytes=facts.max_bytes))


def _context(signature: Signature, facts: Facts) -> Context[object] | JobContext:
    if facts.run_id is None:
        return JobContext(
            job=facts.asset,
            job_id=facts.materialization_id,
            queue=facts.queue,
            attempt=facts.attempt,
            resources=_no_resource,
            transactions=_no_transaction,
        )
    return Context(
        asset=facts.asset,
        partition=signature.partition_of(facts.partition),
        run_id=facts.run_id,
        materialization_id=facts.materialization_id,
        attempt=facts.attempt,
        resources=_no_resource,
        transactions=_no_transaction,
    )


def _no_resource(kind: type[T]) -> T:
    raise DefinitionError(
        f"ctx.resource({kind.__qualname__}): resources stay with the worker, and do not reach a "
        'child process; leave executor="process" out, or make what is needed in the function'
    )


def _no_transaction(driver: str) -> NoReturn:
    raise TransactionError(
        "connections stay with the worker, and do not reach a child process",
        'leave executor="process" out, or let a function without it write what this one returns',
    )


def _go_on(number: int, frame: FrameType | None) -> None:
    """Ignore a signal."""


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its worker; where it cannot, the socket's end does."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it has ended meanwhile
