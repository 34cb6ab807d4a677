"""What is cancelled because nobody needs it any more, in memory."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from flowstone.core.contracts.store import JsonText
from flowstone.core.defaults.memory_assisting import AssistingMachine
from flowstone.core.defaults.memory_rows import Row
from flowstone.core.status import Event, Status


class GivingUpMachine(AssistingMachine):
    """The state machine, with those steps of it that a materialization takes for others."""

    def give_up(
        self, row: Row, claim: int, ids: Collection[int], reason: JsonText, now: datetime
    ) -> int:
        """Cancel what the row, running under this claim, needs no longer; return how many."""
        if row.status is not Status.RUNNING or row.claim != claim:
            return 0
        useless = list(given_up(row, ids, self.rows))
        for each in useless:
            each.is_tolerated = True
            if each.status is Status.RUNNING:
                each.is_abort_asked = True
                self._topics.add("abort")
            else:
                each.error = reason
                self._end(each, Event.CANCELLED, now)
        return sum(each.assists is None for each in useless)


def given_up(row: Row, ids: Collection[int], rows: Mapping[int, Row]) -> Iterator[Row]:
    """Yield what is open of these, which the row awaits, and of what nobody else needs."""
    gone = {row.id}
    wave = [it for it in row.awaits if it in ids]
    while wave:
        fresh = [
            rows[id_]
            for id_ in dict.fromkeys(wave)
            if id_ in rows and id_ not in gone and _is_of_no_use(rows[id_], row, gone, rows)
        ]
        gone.update(it.id for it in fresh)
        yield from fresh
        for it in fresh:
            yield from (each for each in it.assistants if not each.status.is_terminal)
        wave = [id_ for it in fresh for id_ in (*it.inputs, *it.follows, *it.awaits)]


def _is_of_no_use(row: Row, by: Row, gone: Collection[int], rows: Mapping[int, Row]) -> bool:
    if row.run is not by.run or row.status.is_terminal or row.key in row.run.targets:
        return False
    users = (*row.dependents, *row.optional_dependents, *row.awaited_by)
    return all(it in gone or rows[it].status.is_terminal for it in users)
