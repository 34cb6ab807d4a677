"""How the assets of a run stand, in the few words that fit beside them in a graph."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import MaterializationRecord

REUSED = "reused"


async def notes_of_run(app: FlowStone, run_id: int) -> Mapping[str, str]:
    """
    Return how each asset of a run stands, by full name.

    One that has several partitions there is counted; of one that has one, there is also what
    plugins have to say.

    Raises:
        RunNotFoundError: There is no such run.
    """
    await app.store.run(run_id)
    remarks = await app.remarks(run_id)
    said: defaultdict[str, list[str]] = defaultdict(list)
    stand: defaultdict[str, list[str]] = defaultdict(list)
    now = app.definitions.aliases.get
    for it in await app.store.materializations(run_id):
        name = now(it.key.asset, it.key.asset)
        stand[name].append(it.status.value.replace("_", " "))
        said[name].append(_more(it, remarks))
    for reused in await app.store.reused(run_id):
        name = now(reused.key.asset, reused.key.asset)
        stand[name].append(REUSED)
        said[name].append("")
    return {name: _note(states, said[name]) for name, states in stand.items()}


def _more(it: MaterializationRecord, remarks: Mapping[int, str]) -> str:
    waits = f"for {it.waiting_on}" if it.waiting_on else ""
    return ", ".join(filter(None, (waits, remarks.get(it.id))))


def _note(states: list[str], said: list[str]) -> str:
    if len(states) == 1:
        return " ".join(filter(None, (states[0], said[0])))
    return ", ".join(f"{count} {state}" for state, count in Counter(states).items())
