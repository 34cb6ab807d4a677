"""
Text that can be stored and shown, from names and metadata that strangers wrote.

A file name on POSIX is bytes, and METADATA is whatever a build tool left. JSON and Postgres take
neither lone surrogates nor NUL, and a terminal should not be handed escape sequences.
"""

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(\\|u[0-9a-f]{4})")


def to_text(name: str) -> str:
    r"""
    A file name as the operating system gives it, as printable text that ``to_name`` turns back.

    Control characters and undecodable bytes become ``\uXXXX``, a backslash becomes two.
    """
    if _UNSAFE.search(name) is None:
        return name
    return _UNSAFE.sub(lambda found: r"\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}", name)


def to_name(text: str) -> str:
    """The file name that ``to_text`` was given."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(
        lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), text
    )


def one_line(text: str, limit: int = 200) -> str:
    """Text of unknown origin on one line: white space collapsed, the unprintable replaced."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else "�" for letter in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
