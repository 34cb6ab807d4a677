"""What a strategy can say of its asset before anything runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset, Definition
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.definitions import check
from flowstone.core.dependency import Dep
from flowstone.core.errors import DefinitionError, Problem
from flowstone.core.outcome import Outcome, Stored, Wake
from flowstone.core.pipeline import Pipeline


class Plain(Strategy):
    def __init__(self, said: str = "") -> None:
        self.said = said

    @property
    def fingerprint(self) -> str:
        return self.said

    async def start(self, execution: Execution) -> Outcome:
        return Stored(await execution.call())

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return Stored(wake.payload)


class Objecting(Plain):
    """Objects to an asset that nothing depends on, or without a sibling called ``twin``."""

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterable[Problem]:
        where = str(asset.source)
        if not dependents:
            yield Problem("nobody wants it", where=where, asset=asset.full_name)
        if f"{asset.pipeline}.twin" not in assets:
            yield Problem(
                "it has no twin. Add", where=where, asset=asset.full_name, fix="def twin()"
            )


class Before(Plain):
    """Stands before another strategy."""

    def __init__(self, inner: Strategy) -> None:
        super().__init__()
        self._inner = inner

    @property
    def inner(self) -> Strategy:
        return self._inner


def defined(strategy: Strategy) -> Definition[..., Any]:
    def lonely() -> int:
        return 1

    return Definition(lonely, strategy=strategy)


@pytest.mark.parametrize("strategy", [Objecting(), Before(Objecting())], ids=["alone", "within"])
def test_what_it_objects_to_is_told_with_everything_else_that_is_wrong(strategy: Strategy) -> None:
    p = Pipeline("p")
    p.asset(defined(strategy))

    @p.asset
    def other(nothing: int) -> None: ...

    told = [f"{it.asset}: {it.message}" for it in check([p])]

    assert told[:2] == ["p.lonely: nobody wants it", "p.lonely: it has no twin. Add"]
    assert "parameter 'nothing' has no source" in told[2]
    with pytest.raises(DefinitionError, match=r"3 problems(?s:.*)def twin\(\)"):
        FlowStone(p)


def test_it_sees_the_other_assets_and_those_that_depend_on_its_own() -> None:
    p = Pipeline("p")
    lonely = p.asset(defined(Objecting()))

    @p.asset
    def twin(lonely: int = Dep(lonely)) -> int:
        return lonely

    assert check([p]) == []


def test_what_it_was_told_belongs_to_the_version_of_the_code() -> None:
    versions = {
        said: Pipeline("p").asset(defined(Plain(said))).code_version for said in ("", "a", "b")
    }

    assert len(set(versions.values())) == 3
    assert versions["a"] == Pipeline("p").asset(defined(Plain("a"))).code_version


def test_it_is_found_behind_one_that_stands_before_it() -> None:
    inner = Objecting()
    asset = Pipeline("p").asset(defined(Before(inner)))

    assert asset.find_strategy(Objecting) is inner
    assert isinstance(asset.find_strategy(Before), Before)
    assert asset.find_strategy(FlowStone) is None


def test_the_plugin_of_one_that_stands_behind_is_used_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Votes(Plugin):
        name = "votes"

        def register(self, registries: Registries) -> None: ...

    class Voting(Plain):
        plugin = "votes"

    monkeypatch.setattr("flowstone.core.plugin.load", {"votes": Votes()}.__getitem__)
    p = Pipeline("p")
    p.asset(defined(Before(Voting())))

    assert [it.name for it in FlowStone(p).plugins] == ["votes"]
