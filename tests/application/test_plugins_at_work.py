"""What plugins bring to an application, and how it is told."""

from collections.abc import Mapping

import flowstone
from flowstone import FlowStone, Pipeline, Requires
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Resource
from flowstone.core.contracts.service import Service
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.telemetry_catalogue import EventSpec
from tests.application.conftest import AppOf, on_postgres


class Http:
    def __init__(self, base: str) -> None:
        self.base = base


class HttpResource(Resource[Http]):
    async def setup(self, config: Mapping[str, object]) -> Http:
        return Http(str(config["base"]))


class LoudCodec(JsonCodec):
    def encode(self, value: object, *, max_bytes: int | None = None) -> str:
        return super().encode(f"{value}!", max_bytes=max_bytes)


class Nothing(Service):
    async def run(self, app: object) -> None: ...


class Everything(Plugin):
    name = "everything"

    def register(self, registries: Registries) -> None:
        registries.io.register("shelf", MemoryIO)
        registries.codecs.register("loud", LoudCodec)
        registries.resources.register(Http, HttpResource, {"base": "plugin's"})
        registries.services.register("nothing", Nothing)
        registries.events.add(EventSpec("shelf.full", (), (), "No room is left"))
        registries.normalizer.mark_retryable(LookupError)


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def where(http: Http = Requires(Http)) -> str:
        return http.base

    return p


async def test_an_application_tells_what_each_plugin_has_brought(app_of: AppOf) -> None:
    app = await app_of(pipeline(), plugins=[Everything()])

    (plugin,) = [it for it in app.plugins if it.name == "everything"]

    assert (plugin.version, plugin.contract_version) == (None, "1.0.0")
    assert plugin.registered == {
        "IO managers": ["shelf"],
        "codecs": ["loud"],
        "resources": ["Http"],
        "services": ["nothing"],
        "events": ["shelf.full"],
        "errors": ["builtins.LookupError"],
    }


@on_postgres
async def test_the_engine_is_a_plugin_too(app_of: AppOf) -> None:
    app = await app_of(Pipeline("p"))

    (plugin,) = app.plugins

    assert (plugin.name, plugin.version) == ("postgresql", flowstone.__version__)
    assert plugin.registered == {"stores": ["postgresql"]}


async def test_its_resource_serves_where_the_application_says_nothing(app_of: AppOf) -> None:
    app = await app_of(pipeline(), plugins=[Everything()])

    assert await app.run("where") == "plugin's"


async def test_the_applications_own_resource_goes_before_it(app_of: AppOf) -> None:
    resources = {Http: (HttpResource, {"base": "own"})}
    app = await app_of(pipeline(), plugins=[Everything()], resources=resources)

    assert await app.run("where") == "own"


async def test_its_codec_is_chosen_by_name(app_of: AppOf) -> None:
    app = await app_of(pipeline(), plugins=[Everything()], codec="loud")

    assert await app.run("where") == "plugin's!"


def test_it_may_replace_the_built_in_codec() -> None:
    class Loud(Plugin):
        name = "loud"

        def register(self, registries: Registries) -> None:
            registries.codecs.register("default", LoudCodec)

    assert isinstance(FlowStone(Pipeline("p"), plugins=[Loud()]).codec, LoudCodec)
