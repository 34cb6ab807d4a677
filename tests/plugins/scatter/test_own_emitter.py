"""An application may bring an emitter of its own, which hears of plugins, too."""

from flowstone import FlowStone, Pipeline
from flowstone.core.telemetry import Telemetry
from flowstone.plugins.scatter import scatter


async def test_an_emitter_of_ones_own_hears_what_plugins_tell() -> None:
    pipeline, telemetry, heard = Pipeline("p"), Telemetry(), list[str]()
    telemetry.attach(lambda event, _numbers, _facts: heard.append(event))

    @pipeline.asset
    @scatter([1, 2])
    async def doubled(item: int) -> int:
        return item * 2

    async with FlowStone(pipeline, telemetry=telemetry) as app:
        assert (await app.run(doubled)).completed == 2

    assert "flowstone.scatter.start" in heard
