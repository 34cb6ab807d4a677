"""How much one turn of a pump carries: no statement and no answer is too large to be sent."""

from collections.abc import Sequence

from flowstone.plugins.scatter.records import ItemOutcome, NewItem

TURN_BYTES = 16 * 1024 * 1024


def for_one_turn(outcomes: list[ItemOutcome]) -> tuple[list[ItemOutcome], list[ItemOutcome]]:
    """Return outcomes that one turn can report, one at least if there is any, and the others."""
    if sum([len(it.result or "") for it in outcomes]) <= TURN_BYTES:
        return outcomes, []
    size = 0
    for place, outcome in enumerate(outcomes):
        size += len(outcome.result or "")
        if size > TURN_BYTES and place:
            return outcomes[:place], outcomes[place:]
    return outcomes, []


def average_bytes(items: Sequence[NewItem]) -> int:
    """Return the average size of the items of a page; 0 of none."""
    return sum([len(it.item) for it in items]) // len(items) if items else 0


def most_items(item_bytes: int) -> int:
    """Return how many items of this size one turn hands out at most."""
    return max(1, TURN_BYTES // (item_bytes + 1))
