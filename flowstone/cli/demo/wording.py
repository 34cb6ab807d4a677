"""Numbers as people read them; the terminal and the page say them alike."""

from collections.abc import Iterable


def size(number: int) -> str:
    """Bytes in decimal units: ``303 MB``, ``1.4 kB``."""
    amount = float(max(number, 0))
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5 or unit == "GB":
            return (
                f"{amount:,.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    raise AssertionError


def count(number: int, one: str, several: str = "") -> str:
    """A number with its noun: ``1 file``, ``8,412 files``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def share(part: int, whole: int) -> str:
    """A part in percent; what is there is never shown as nothing."""
    percent = 100 * part / whole if whole else 0.0
    return "<1%" if 0 < percent < 1 else f"{percent:.0f}%"


def duration(milliseconds: int) -> str:
    """``28 ms``, ``1.1 s``."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def milliseconds(microseconds: int) -> str:
    """``12.3 ms``."""
    return f"{microseconds / 1000:.1f} ms"


def listing(names: Iterable[str], most: int = 3) -> str:
    """``a, b, c and 4 more``."""
    every = list(names)
    shown, rest = every[:most], len(every) - most
    return ", ".join(shown) + (f" and {rest:,} more" if rest > 0 else "")
