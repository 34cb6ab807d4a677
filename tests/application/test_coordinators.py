"""What keeps the state of a kind of asset: made for the store, put in by configuration, closed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, TypeVar

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core import plugin as plugin_loading
from flowstone.core.asset import Definition
from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.errors import (
    AlreadyRegisteredError,
    InvalidOptionError,
    NotRegisteredError,
    RegistrationError,
)
from flowstone.core.outcome import Outcome, Stored, Wake
from tests.application.conftest import AppOf

T = TypeVar("T")


class Votes(Coordinator, ABC):
    @abstractmethod
    async def count(self) -> str: ...


class MemoryVotes(Votes):
    async def count(self) -> str:
        return "in memory"


class DurableVotes(Votes):
    async def count(self) -> str:
        return "in tables"


class Recorded(MemoryVotes):
    def __init__(self, said: str = "recorded") -> None:
        self.said = said
        self.story: list[str] = []

    async def open(self, app: Host) -> None:
        self.story.append(f"opened, durable: {app.store.is_durable}")

    async def close(self) -> None:
        self.story.append("closed")

    async def count(self) -> str:
        self.story.append("asked")
        return self.said


class Counting(Strategy):
    async def start(self, execution: Execution) -> Outcome:
        assert execution.claim >= 0
        return Stored(await execution.coordinator(Votes).count())

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        raise NotImplementedError


class VotesPlugin(Plugin):
    name = "votes"

    def register(self, registries: Registries) -> None:
        registries.coordinators.register(Votes, memory=MemoryVotes, durable=DurableVotes)


def pipeline(strategy: Strategy) -> Pipeline:
    polls = Pipeline("polls")

    def counted(function: Callable[[], Coroutine[Any, Any, str]]) -> Definition[[], str]:
        return Definition(function, strategy=strategy)

    @polls.asset
    @counted
    async def result() -> str:
        raise AssertionError("the strategy does not call it")

    return polls


async def test_it_is_the_one_that_was_brought_for_the_store(app_of: AppOf) -> None:
    app = await app_of(pipeline(Counting()), plugins=[VotesPlugin()])

    expected = "in tables" if app.store.is_durable else "in memory"
    assert await app.run("polls.result") == expected
    assert await app.coordinator(Votes).count() == expected


async def test_another_one_is_put_in_by_configuration() -> None:
    app = FlowStone(
        pipeline(Counting()),
        plugins=[VotesPlugin()],
        coordinators={Votes: (Recorded, {"said": "by us"})},
    )
    async with app:
        recorded = app.coordinator(Votes)
        assert isinstance(recorded, Recorded)
        assert await app.run("polls.result") == "by us"

    assert recorded.story == ["opened, durable: False", "asked", "closed"]


async def test_a_strategy_brings_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Belonging(Counting):
        plugin: ClassVar[str | None] = "votes"

    monkeypatch.setattr(plugin_loading, "load", {"votes": VotesPlugin()}.__getitem__)

    async with FlowStone(pipeline(Belonging())) as app:
        assert await app.run("polls.result") == "in memory"
        assert [it.registered for it in app.plugins] == [{"coordinators": ["Votes"]}]


async def test_one_that_nobody_brings_is_an_error_that_says_so() -> None:
    async with FlowStone(pipeline(Counting())) as app:
        with pytest.raises(NotRegisteredError, match="no coordinator is registered as 'Votes'"):
            app.coordinator(Votes)


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ((Recorded, {"sad": "x"}), InvalidOptionError),
        (lambda: VotesPlugin(), RegistrationError),
        (VotesPlugin, RegistrationError),
    ],
    ids=["unknown option", "makes something else", "another class"],
)
def test_what_is_put_in_is_checked_when_the_application_is_built(
    entry: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="Votes"):
        FlowStone(pipeline(Counting()), plugins=[VotesPlugin()], coordinators={Votes: entry})


def test_two_plugins_cannot_bring_the_same() -> None:
    registries = Registries()
    VotesPlugin().register(registries)

    with pytest.raises(AlreadyRegisteredError):
        VotesPlugin().register(registries)


class Remarking(MemoryVotes):
    async def remarks(self, run_id: int) -> Mapping[int, str]:
        return {1: f"said of run {run_id}"}


async def test_what_coordinators_say_of_a_run_is_put_together() -> None:
    class Ballots(Coordinator):
        async def remarks(self, run_id: int) -> Mapping[int, str]:
            return {1: "and more", 2: "alone"}

    given = {Votes: Remarking, Ballots: Ballots}
    async with FlowStone(pipeline(Counting()), plugins=[VotesPlugin()], coordinators=given) as app:
        assert await app.remarks(7) == {1: "said of run 7; and more", 2: "alone"}

    async with FlowStone(pipeline(Counting()), plugins=[VotesPlugin()]) as app:
        assert await app.remarks(7) == {}
