"""Readers at work: named by an asset, configured by the application, fed by the asset's inputs."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from flowstone import Definition, Dep, FlowStoneError, Pipeline, Requires, RunFailedError, reader
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Resource
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.iterable_reader import IterableReader
from flowstone.core.errors import InvalidOptionError, NotRegisteredError, ReaderError
from flowstone.core.outcome import Outcome, Stored, Wake
from tests.application.conftest import AppOf
from tests.core.numbers_reader import Numbers, Seen

PLAIN = (IterableReader, {"items": ["a", "b", "c"]})


class Collecting(Strategy):
    """Reads all items of a source and is done: its value is the pages."""

    async def start(self, execution: Execution) -> Outcome:
        source: Any = await execution.call_phase("items")
        async with execution.read_items(source, page_size=2) as pages:
            return Stored([list(page.items) async for page in pages])

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        raise NotImplementedError


def collecting(items: Callable[..., object]) -> Callable[[Any], Definition[[], list[Any]]]:
    def define(function: Callable[[], Coroutine[Any, Any, Any]]) -> Definition[[], list[Any]]:
        return Definition(
            function, strategy=Collecting(), phases={"items": items}, value_type=list[Any]
        )

    return define


def documents(**config: Any) -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def upto() -> int:
        return 3

    def docs(upto: int = Dep(upto)) -> ItemSource[Any]:
        return reader("documents", **config)

    @p.asset
    @collecting(docs)
    async def read() -> None: ...

    return p


@pytest.mark.conformance(509)
async def test_a_reader_is_swapped_by_configuration_alone(app_of: AppOf) -> None:
    pipeline = documents()
    plain = await app_of(pipeline, readers={"documents": PLAIN})
    numbers = await app_of(pipeline, readers={"documents": (Numbers, {"upto": 1})})

    assert await plain.run("read") == [["a", "b"], ["c"]]
    assert await numbers.run("read", force=True) == [[{"value": 1}]]


async def test_inputs_reach_the_reader_and_the_functions_of_its_configuration(
    app_of: AppOf,
) -> None:
    seen = Seen()
    entry = (Numbers(seen), {"label": lambda deps: f"of {deps['upto']}"})
    app = await app_of(documents(upto=lambda deps: deps["upto"]), readers={"documents": entry})

    assert await app.run("read") == [[{"value": 1}, {"value": 2}], [{"value": 3}]]
    assert seen.configs == [{"upto": 3, "label": "of 3"}]


class SevenResource(Resource[int]):
    async def setup(self, config: Mapping[str, object]) -> int:
        return 7


async def test_resources_reach_the_reader_by_parameter(app_of: AppOf) -> None:
    p = Pipeline("p")

    def docs(bound: int = Requires(int)) -> ItemSource[Any]:
        return reader(Numbers, upto=lambda deps: deps["bound"])

    @p.asset
    @collecting(docs)
    async def read() -> None: ...

    app = await app_of(p, resources={int: SevenResource()})

    assert len(await app.run(read)) == 4


@pytest.mark.conformance(508)
async def test_an_unknown_reader_fails_the_asset_and_lists_the_known(app_of: AppOf) -> None:
    app = await app_of(documents(), readers={"dokuments": PLAIN})

    error = await _failure(app)

    assert isinstance(error, NotRegisteredError)
    assert "no item reader is registered as 'documents'. Did you mean 'dokuments'?" in str(error)


async def test_a_reader_that_fails_fails_the_asset(app_of: AppOf) -> None:
    entry = (Numbers(fails=ValueError("boom")), {"upto": 9})
    app = await app_of(documents(), readers={"documents": entry})

    error = await _failure(app)

    assert isinstance(error, ReaderError)
    assert "item reader 'documents' could not read page 1: ValueError: boom" in str(error)


async def test_the_applications_readers_go_before_those_of_plugins(app_of: AppOf) -> None:
    class Bringing(Plugin):
        name = "bringing"

        def register(self, registries: Registries) -> None:
            registries.readers.register("documents", (Numbers, {"upto": 1}))

    brought = await app_of(documents(), plugins=[Bringing()])
    given = await app_of(documents(), plugins=[Bringing()], readers={"documents": PLAIN})

    assert await brought.run("read") == [[{"value": 1}]]
    assert await given.run("read", force=True) == [["a", "b"], ["c"]]
    bringing = next(it for it in brought.plugins if it.name == "bringing")
    assert bringing.registered == {"item readers": ["documents"]}


async def test_what_is_no_reader_is_refused_when_the_application_is_built(app_of: AppOf) -> None:
    wrong: Any = {"documents": dict}
    with pytest.raises(FlowStoneError, match="item reader 'documents' must be a ItemReader"):
        await app_of(documents(), readers=wrong)
    incomplete: Any = {"documents": (Numbers,)}
    with pytest.raises(InvalidOptionError, match="item reader 'documents'"):
        await app_of(documents(), readers=incomplete)


async def _failure(app: Any) -> BaseException | None:
    with pytest.raises(RunFailedError) as caught:
        await app.run("read")
    return caught.value.__cause__
