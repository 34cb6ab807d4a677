"""
DynamoDB's values and ours.

On the wire each value says its type: ``{"N": "3"}``, ``{"M": {"name": {"S": "Ada"}}}``. Numbers
become `int`, or `Decimal` where they have a fraction; sets stay sets.
"""

import base64
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue


# Any: the wire's form is a mapping of one key to a value of the key's own type.
def from_wire(value: Mapping[str, Any]) -> object:
    """Return the value that is meant."""
    [(kind, content)] = value.items()
    match kind:
        case "S" | "B" | "BOOL":
            return content
        case "NULL":
            return None
        case "N":
            return _number(content)
        case "M":
            return {name: from_wire(it) for name, it in content.items()}
        case "L":
            return [from_wire(it) for it in content]
        case "SS" | "BS":
            return set(content)
        case "NS":
            return {_number(it) for it in content}
    raise InvalidOptionError(f"DynamoDB gave a value of the unknown type {kind}")


def to_wire(value: object) -> Mapping[str, Any]:
    """
    Return a value as DynamoDB takes it, such as one for an expression.

    Raises:
        InvalidOptionError: DynamoDB has no such type.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case int() | Decimal():
            return {"N": str(value)}
        case float():
            return {"N": repr(value)}
        case list() | tuple():
            return {"L": [to_wire(it) for it in value]}
        case dict():
            return {"M": {name: to_wire(it) for name, it in value.items()}}
    raise InvalidOptionError(f"DynamoDB has no type for {value!r}")


def key_to_json(key: Mapping[str, Mapping[str, Any]]) -> JsonValue:
    """Return a key on the wire as JSON, which has no bytes."""
    return {
        name: {
            kind: base64.b64encode(content).decode() if kind == "B" else content
            for kind, content in value.items()
        }
        for name, value in key.items()
    }


def key_from_json(key: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return what `key_to_json` wrote."""
    return {
        name: {
            kind: base64.b64decode(content) if kind == "B" else content
            for kind, content in value.items()
        }
        for name, value in key.items()
    }


def _number(text: str) -> int | Decimal:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number
