"""A reader of numbers for tests: with a position, a filter, and failures on demand."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class At:
    upto: int
    even_only: bool
    position: int = 0


@dataclass
class Seen:
    """What the reader was asked, over all of its instances."""

    configs: list[Mapping[str, object]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    closed: int = 0


class Numbers(ItemReader[At]):
    """Reads ``{"value": 1}``, ``{"value": 2}`` … as far as ``upto``."""

    def __init__(self, seen: Seen | None = None, fails: Exception | None = None) -> None:
        self.seen = seen or Seen()
        self.fails = fails

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> At:
        self.seen.configs.append(config)
        match config:
            case {"upto": int(upto), **rest} if {*rest} <= {"even_only", "label"}:
                return At(upto, bool(rest.get("even_only")))
        raise InvalidOptionError(f"Numbers takes upto=, not {dict(config)}")

    async def read(self, state: At, limit: int) -> Read[At]:
        if self.fails is not None and state.position > 0:
            raise self.fails
        self.seen.limits.append(limit)
        end = min(state.position + limit, state.upto)
        found = [
            {"value": it}
            for it in range(state.position + 1, end + 1)
            if it % 2 == 0 or not state.even_only
        ]
        return Read(found, replace(state, position=end), is_last=end == state.upto)

    async def count(self, state: At) -> int | None:
        return None if state.even_only else state.upto

    def checkpoint(self, state: At) -> JsonValue:
        return {"position": state.position}

    async def restore(self, state: At, checkpoint: JsonValue) -> At:
        match checkpoint:
            case {"position": int(position)}:
                return replace(state, position=position)
        raise InvalidOptionError(f"{checkpoint!r} is no position")

    async def close(self, state: At) -> None:
        self.seen.closed += 1
