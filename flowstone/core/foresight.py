"""
What a run would find out to be skipped, as far as that is known when it is planned.

An asset that is skipped has no value, so it would be tried in each run again, and with it whatever
is made from it. Where another asset's stored value decides (a router's), and that is reused, the
answer is known before: the plan leaves the asset out.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from flowstone.core.asset import Asset
from flowstone.core.contracts.store import Key
from flowstone.core.contracts.strategy import Strategy
from flowstone.core.coordinators import Coordinators
from flowstone.core.planner import Action, Decision, Foreseen


class Foresight:
    """
    Asks the strategies of an application's assets.

    Args:
        assets: By full name.
    """

    def __init__(
        self, assets: Mapping[str, Asset[..., object]], coordinators: Coordinators
    ) -> None:
        self._coordinators = coordinators
        self._decided = {
            name: [*_decided(asset)] for name, asset in assets.items() if asset.strategy is not None
        }
        self._is_idle = not any(self._decided.values())

    async def foresee(self, decisions: Sequence[Decision]) -> Mapping[Key, Foreseen]:
        """Return what would be skipped of what a plan would run, if it reuses what it says."""
        found: dict[Key, Foreseen] = {}
        if self._is_idle:
            return found
        running: defaultdict[str, list[Key]] = defaultdict(list)
        reused: dict[Key, int] = {}
        for it in decisions:
            if it.action is Action.RUN and self._decided.get(it.key.asset):
                running[it.key.asset].append(it.key)
            elif it.action is Action.REUSE and it.current is not None:
                reused[it.key] = it.current.materialization_id
        for name, keys in running.items():
            for upstream, strategy in self._decided[name]:
                by = {key: reused.get(Key(upstream, key.partition)) for key in keys}
                known = [id_ for id_ in by.values() if id_ is not None]
                said = await strategy.foresee(known, self._coordinators) if known else {}
                for key, id_ in by.items():
                    if id_ is not None and id_ in said:
                        found[key] = Foreseen(upstream, said[id_])
        return found


def _decided(asset: Asset[..., object]) -> Iterator[tuple[str, Strategy]]:
    """Give the strategies that an upstream's value may skip, with that upstream's name."""
    strategy = asset.strategy
    while isinstance(strategy, Strategy):
        upstream = strategy.decided_by(asset)
        if upstream is not None:
            yield upstream, strategy
        strategy = strategy.inner
