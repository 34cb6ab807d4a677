"""Which key or serial lane a job has, by the value of one of its arguments."""

import hashlib
import json
from collections.abc import Mapping

from flowstone.core.errors import InvalidOptionError
from flowstone.core.unique import Unique
from flowstone.core.unique_key import OnConflict

LONGEST = 100
"""Characters of a value as it is; of a longer one there is a hash."""


def text_of(value: object) -> str | None:
    """
    Return a JSON value as a key; None has none.

    A plain text is itself, so that people find it in rows.
    """
    if value is None:
        return None
    is_plain = isinstance(value, str) and value != "" and value[0] not in '"[{#'
    text = str(value) if is_plain else json.dumps(value, sort_keys=True)
    if len(text) <= LONGEST:
        return text
    return "#" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def limit_key(
    job: str, arguments: Mapping[str, object], key: str | None, unique: Unique | None
) -> str | None:
    """
    Return the key of a job in a queue whose limits go by this argument, if it has one.

    Raises:
        InvalidOptionError: It may be given other arguments later, and with them another key.
    """
    text = None if key is None else text_of(arguments.get(key))
    if text is not None and unique is not None and unique.on_conflict is OnConflict.REPLACE:
        raise InvalidOptionError(
            f"job '{job}' goes to a queue with limits per {key}: its Unique(on_conflict=…) has to "
            'be "existing" or "raise"'
        )
    return text
