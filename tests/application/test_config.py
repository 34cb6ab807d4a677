"""A run's configuration of its targets."""

from dataclasses import field
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from flowstone import Config, Dep, Pipeline
from flowstone.core.errors import InvalidOptionError
from tests.application.conftest import AppOf
from tests.application.stage import drain
from tests.opaque import Opaque

NASTY = "a'; DROP TABLE flowstone_runs; -- \" %s {} $1 \\ \n ü 💧"


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class ReportConfig(Config):
    since: date
    top_n: int = 10
    title: str = "Report"
    size: Size = Size.SMALL
    rates: dict[str, Decimal] = field(default_factory=dict)
    within: timedelta | None = None


def pipeline(seen: list[ReportConfig] | None = None) -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def base() -> int:
        return 1

    @p.asset
    async def report(config: ReportConfig, base: int = Dep(base)) -> str:
        if seen is not None:
            seen.append(config)
        return f"{config.title}: {config.top_n} since {config.since}"

    return p


class TestGiven:
    async def test_an_object_and_its_fields_mean_the_same(self, app_of: AppOf) -> None:
        seen: list[ReportConfig] = []
        app = await app_of(pipeline(seen))
        config = ReportConfig(
            since=date(2024, 1, 1),
            title=NASTY,
            size=Size.LARGE,
            rates={"eur": Decimal("1.10")},
            within=timedelta(hours=1),
        )
        fields = {
            "since": date(2024, 1, 1),
            "title": NASTY,
            "size": Size.LARGE,
            "rates": {"eur": Decimal("1.10")},
            "within": timedelta(hours=1),
        }
        json_fields = {
            "since": "2024-01-01",
            "title": NASTY,
            "size": "l",
            "rates": {"eur": "1.10"},
            "within": "PT1H",
        }

        for given in (config, fields, json_fields):
            await app.run("report", config=given, force=True)

        assert seen == [config] * 3

    async def test_it_reaches_a_worker_elsewhere(self, app_of: AppOf) -> None:
        seen: list[ReportConfig] = []
        app, worker = await app_of(pipeline()), await app_of(pipeline(seen))
        config = ReportConfig(since=date(2024, 1, 1), rates={"a": Decimal("0.10")})
        handle = await app.enqueue("report", config=config)

        await drain(worker)

        assert await handle.result() == "Report: 10 since 2024-01-01"
        assert seen == [config]

    async def test_it_goes_to_the_targets_that_take_it(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        values = await app.run(["base", "report"], config={"since": "2024-01-01", "top_n": 3})

        assert values == [1, "Report: 3 since 2024-01-01"]

    async def test_without_any_the_defaults_hold(self, app_of: AppOf) -> None:
        class Defaults(Config):
            top_n: int = 10

        p, seen = Pipeline("p"), []

        @p.asset
        def report(config: Defaults) -> int:
            seen.append(config)
            return config.top_n

        app = await app_of(p)

        assert await app.run(report) == 10
        for same in (None, {}, {"top_n": 10}, Defaults()):
            assert await app.run(report, config=same) == 10
        assert seen == [Defaults()]


class TestRefused:
    @pytest.mark.parametrize(
        ("config", "told"),
        [
            ({"since": "2024-01-01", "topn": 3}, r"there is no 'topn', did you mean 'top_n'"),
            ({"since": "yesterday"}, "'since' must be date"),
            ({"since": "2024-01-01", "top_n": "3"}, "'top_n' must be int"),
            ({"since": "2024-01-01", "size": "medium"}, "'size'"),
            ({"since": "2024-01-01", "title": Opaque()}, "'title'"),
            ({"since": "2024-01-01", "rates": {"a": float("nan")}}, "'rates'"),
            ({"since": "2024-01-01", "title": "a\0b"}, "'title'"),
            ({"since": "2024-01-01", "title": "\ud800"}, "'title'"),
            ({"top_n": 3}, "'since' is missing: date"),
            ({}, "'since' is missing: date"),
            (ReportConfig(since="2024"), "'since' must be date"),  # type: ignore[arg-type]
            (ReportConfig(since=Opaque()), "since"),  # type: ignore[arg-type]
            ({1: 2}, "there is no '1'"),
        ],
        ids=repr,
    )
    async def test_what_does_not_fit_is_named_before_anything_is_written(
        self, app_of: AppOf, config: Any, told: str
    ) -> None:
        app = await app_of(pipeline())

        for ask in ("run", "enqueue", "plan"):
            with pytest.raises(InvalidOptionError, match=told):
                await getattr(app, ask)("report", config=config)

        assert await app.store.runs() == []

    async def test_all_that_is_wrong_is_told_at_once(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError) as caught:
            await app.run("report", config={"top": 1, "size": 2})

        told = str(caught.value)
        assert told.startswith("asset 'p.report': config ReportConfig: ")
        assert all(name in told for name in ("'top'", "'size'", "'since' is missing"))

    async def test_a_target_that_takes_none_refuses_any(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match=r"p\.base takes no .*\[upstream, p\.base\]"):
            await app.run("base", config={"top_n": 1})
        with pytest.raises(InvalidOptionError, match=r"p\.base takes no such configuration"):
            await app.enqueue("base", config=ReportConfig(since=date(2024, 1, 1)))

        assert await app.store.runs() == []

    @pytest.mark.parametrize("config", ["top_n=3", 3, ["top_n"]], ids=repr)
    async def test_what_is_no_configuration_is_refused(self, app_of: AppOf, config: Any) -> None:
        app = await app_of(pipeline())

        with pytest.raises(InvalidOptionError, match="config"):
            await app.run("report", config=config)

        assert await app.store.runs() == []

    async def test_a_required_field_is_asked_for_when_the_run_is_planned(
        self, app_of: AppOf
    ) -> None:
        p = pipeline()

        @p.asset
        async def sent(report: str = Dep("p.report", type=str)) -> str:
            return report

        app = await app_of(p)

        for target in ("report", sent):
            for ask in ("run", "enqueue", "plan"):
                with pytest.raises(
                    InvalidOptionError, match=r"p\.report.*'since' is missing: date"
                ):
                    await getattr(app, ask)(target)

        assert await app.store.runs() == []
