"""What an attempt sees of the upstreams that its asset waits for itself, and does about them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flowstone.core.contracts.awaiting import Awaited
from flowstone.core.contracts.store import Claim, Store
from flowstone.core.error_record import MESSAGE_BYTES, harmless, shorten
from flowstone.core.status import Status


async def seen_by(claim: Claim, store: Store, aliases: Mapping[str, str]) -> Sequence[Awaited]:
    """Return them under their present names; one that is no input yet has not succeeded."""
    loaded = {it.materialization_id for it in claim.inputs}
    seen = []
    for it in await store.awaited(claim.id):
        name = aliases.get(it.key.asset, it.key.asset)
        is_new = it.status is Status.SUCCEEDED and it.id not in loaded
        status = Status.RUNNING if is_new else it.status
        seen.append(replace(it, key=replace(it.key, asset=name), status=status))
    return seen


async def give_up(claim: Claim, store: Store, ids: Sequence[int], reason: str) -> int:
    """Cancel some, and what only they need; return how many had not ended."""
    said = shorten(harmless(reason), MESSAGE_BYTES)
    return await store.give_up(claim.id, claim.claim, ids, said)
