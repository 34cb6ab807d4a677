"""
What goes over the border between a worker and its child: a JSON head, and texts beside it.

::

    count: 4 bytes │ sizes: count × 8 bytes │ head │ text │ text …

Texts are the codec's, as they are in the store: written into the head they would be escaped again.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_COUNT = struct.Struct("!I")
COUNT_BYTES = _COUNT.size


class Message(NamedTuple):
    """
    One message.

    Attributes:
        head: JSON; ``is`` says what kind of message it is.
        texts: What the head speaks of, in the order in which it does.
    """

    # Any: each kind of message has fields of its own, read where it is handled.
    head: Mapping[str, Any]
    texts: Sequence[bytes] = ()


def pack(message: Message) -> list[bytes]:
    """Return the message as bytes, in parts so that large texts are not copied."""
    parts = [json.dumps(message.head).encode(), *message.texts]
    sizes = struct.pack(f"!{len(parts)}Q", *map(len, parts))
    return [_COUNT.pack(len(parts)) + sizes, *parts]


def sizes_bytes(count: bytes) -> int:
    """Return how long the list of sizes is, given the first bytes of a message."""
    return 8 * int(_COUNT.unpack(count)[0])


def sizes(listed: bytes) -> Sequence[int]:
    """Return the sizes of the parts."""
    return struct.unpack(f"!{len(listed) // 8}Q", listed)


def unpack(parts: Sequence[bytes]) -> Message:
    """Return the message that these parts are."""
    return Message(json.loads(parts[0]), parts[1:])
