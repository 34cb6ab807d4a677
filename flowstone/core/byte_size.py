"""Sizes as text: ``512MB``, ``4MiB``, ``2G``. A thousand is 1024, whichever way it is written."""

import re

from flowstone.core.errors import InvalidOptionError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:I?B)?", re.IGNORECASE)


def parse(value: int | str, *, option: str) -> int:
    """
    Return the bytes.

    Raises:
        InvalidOptionError: It is no size of a byte or more.
    """
    found = _TEXT.fullmatch(value.strip()) if isinstance(value, str) else None
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else value
    if type(size) is not int or size < 1:
        raise InvalidOptionError(f"{option}={value!r} is no size; write such as 512MB or 2GB")
    return size
