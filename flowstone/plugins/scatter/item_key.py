"""
What tells the items of one scatter apart: canonical JSON, and its hash.

A key is any JSON value; an item without a key of its own is its key. Two keys are the same if their
canonical texts are: keys of objects sorted at every level, no spaces, UTF-8 as it is. Rows keep the
first 16 bytes of the text's SHA-256; people are shown 16 hexadecimal digits of it.

Source: docs/scatter.md.
"""

import hashlib
import json
from collections.abc import Mapping

from flowstone.core.json_value import JsonText, JsonValue
from flowstone.plugins.scatter.errors import InvalidItemKeyError

STORED_BYTES = 16

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


def normalize(key: object) -> JsonValue:
    """
    Return the key with text for the keys of its objects, at every level.

    Raises:
        InvalidItemKeyError: It holds something that JSON has not, or two names that are the same.
    """
    if isinstance(key, Mapping):
        normalized = {_name(name): normalize(value) for name, value in key.items()}
        if len(normalized) < len(key):
            raise InvalidItemKeyError(f"the key {key!r} has two names that are the same as text")
        return normalized
    if isinstance(key, list | tuple):
        return [normalize(value) for value in key]
    if key is None or isinstance(key, str | int | float):
        return key
    raise InvalidItemKeyError(f"the key {key!r} has a {type(key).__qualname__}, which is no JSON")


def serialize(key: object) -> JsonText:
    """
    Return the canonical text.

    Raises:
        InvalidItemKeyError: It is no JSON.
    """
    return canonical(normalize(key))


def canonical(value: JsonValue) -> JsonText:
    """Return the canonical text of what is JSON already."""
    if type(value) is int:
        return str(value)
    try:
        text = _encode(value)
        text.encode()
    except ValueError as error:
        raise InvalidItemKeyError(f"the key {value!r} cannot be stored: {error}") from error
    return text


def deserialize(text: JsonText | JsonValue) -> JsonValue:
    """Return the key of a text; an object is returned as it is."""
    if not isinstance(text, str):
        return text
    value: JsonValue = json.loads(text)
    return value


def are_equal(one: object, other: object) -> bool:
    """Return whether the keys are the same."""
    return serialize(one) == serialize(other)


def hash_of(key: object) -> str:
    """Return 16 lower-case hexadecimal digits that stand for the key."""
    return stored_hash(serialize(key)).hex()[:16]


def stored_hash(text: JsonText) -> bytes:
    """Return what rows keep of a canonical text."""
    return hashlib.sha256(text.encode()).digest()[:STORED_BYTES]


def _name(name: object) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, bool) or name is None:
        return json.dumps(name)
    if isinstance(name, int | float):
        return repr(name)
    raise InvalidItemKeyError(f"the name {name!r} in a key is a {type(name).__qualname__}")
