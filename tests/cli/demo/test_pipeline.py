import os

import pytest

from flowstone import Context, FlowStone, Skip
from flowstone.cli.demo import environment, pipeline
from flowstone.cli.demo.environment import OtherEnvironmentError, fingerprint
from flowstone.cli.demo.records import Inventory, Report, Unowned
from flowstone.cli.demo.verification import Verifying
from flowstone.core.defaults.json_codec import JsonCodec
from tests.cli.demo.made_environment import MadeEnvironment


def context(partition: str | None = None) -> Context[str | None]:
    return Context(asset="", partition=partition, run_id=1, materialization_id=1)


async def reported(partition: str | None = None) -> Report:
    """Every asset called by hand, in order, each with what the ones before returned."""
    found = pipeline.distributions(context(partition))
    files = pipeline.files(found)
    verifying = Verifying()
    for file in pipeline.each_file(files):
        verifying.add(file, pipeline.verified(file))
    verified = verifying.verification(files.recorded)
    graph = await pipeline.dependency_graph(found)
    unowned: object = pipeline.unowned(found, files)
    return await pipeline.report(
        distributions=found,
        verified=verified,
        dependency_graph=graph,
        licenses=await pipeline.licenses(found),
        largest=pipeline.largest(files),
        affected=await pipeline.affected(verified, graph),
        unowned=unowned if isinstance(unowned, Unowned) else None,
        startup=await pipeline.startup(found),
    )


class TestTheShape:
    def test_is_a_diamond_of_diamonds(self) -> None:
        needs = {
            asset.name: {each.upstream.removeprefix("environment.") for each in asset.inputs}
            for asset in pipeline.environment.assets
        }

        assert needs == {
            "distributions": set(),
            "files": {"distributions"},
            "verified": {"files"},
            "dependency_graph": {"distributions"},
            "licenses": {"distributions"},
            "largest": {"files"},
            "unowned": {"distributions", "files"},
            "affected": {"verified", "dependency_graph"},
            "startup": {"distributions"},
            "report": set(needs) - {"files", "report"},
        }

    def test_has_optional_edges_and_one_of_order_only(self) -> None:
        optional = [each.upstream for each in pipeline.report.signature.inputs if each.optional]

        assert optional == ["environment.unowned", "environment.startup"]
        assert pipeline.startup.after == ("environment.verified",)

    def test_has_a_description_of_every_asset(self) -> None:
        assert [a.name for a in pipeline.environment.assets if not a.options.description] == []


class TestCalledByHand:
    async def test_reports_on_a_made_environment(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "site_folders", lambda: (made.site,))
        made.install("thing", files={"thing.py": b"1"})
        made.write("thing.py", b"2")

        report = await reported()

        assert report.verdict == "damaged"
        assert report.startup is not None

    def test_skips_the_unowned_where_nothing_was_recorded(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "site_folders", lambda: (made.site,))
        found = pipeline.distributions(context())

        assert isinstance(pipeline.unowned(found, pipeline.files(found)), Skip)

    def test_refuses_the_partition_of_another_environment(self) -> None:
        with pytest.raises(OtherEnvironmentError):
            pipeline.distributions(context("00000000-00000000"))

    async def test_reports_on_this_environment_without_changing_it(self) -> None:
        before = fingerprint()

        report = await reported(before)

        assert report.verification.total.ok > 1_000
        assert {"pytest", "rich"} <= {row.name for row in report.rows}
        assert fingerprint() == before


class TestItsValues:
    def test_are_small_and_come_back_equal(self) -> None:
        found = pipeline.distributions(context())
        files = pipeline.files(found)
        text = JsonCodec().encode(files)

        assert len(text) < 120 * files.file_count
        assert JsonCodec().decode(text, Inventory) == files

    async def test_come_back_equal_to_the_last(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "site_folders", lambda: (made.site,))
        made.install("thing", files={os.fsdecode(b"\xff.py"): b"1"}, requires=["absent", "?"])
        made.write("stray\x1b.py")
        report = await reported()

        assert JsonCodec().decode(JsonCodec().encode(report), Report) == report


class TestRunInMemory:
    async def test_reuses_what_is_fresh_until_the_environment_changes(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "site_folders", lambda: (made.site,))
        monkeypatch.setattr(environment, "site_folders", lambda: (made.site,))
        made.install("thing", files={"thing.py": b"1"})
        before = fingerprint()

        async with FlowStone([pipeline.environment]) as app:
            first = await app.run(pipeline.report, partition=before)
            again = await app.run(pipeline.report, partition=before)
            made.write("thing.py", b"changed")
            after = await app.run(pipeline.report, partition=fingerprint())

        assert first.verdict == "intact"
        assert again == first
        assert after.verdict == "damaged"

    async def test_reports_without_what_was_skipped(
        self, made: MadeEnvironment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "site_folders", lambda: (made.site,))

        async with FlowStone([pipeline.environment]) as app:
            report = await app.run(pipeline.report)

        assert (report.verdict, report.unowned) == ("unknown", None)
