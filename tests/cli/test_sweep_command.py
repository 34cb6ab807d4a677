"""``flowstone asset sweep``: say, or delete, what was written and never committed."""

from pathlib import Path

import pytest

from tests.cli.invocation import Ended, flowstone

SHOP = """\
from flowstone import FlowStone, Pipeline
from flowstone.plugins.io_files import FilesIO

sales = Pipeline("sales", io="lake")


class Torn(FilesIO):
    async def store(self, address, value):
        await super().store(address, value)
        raise OSError("torn")


@sales.asset
async def numbers() -> list[int]:
    return [1]


@sales.asset(io="torn")
async def lost() -> int:
    return 1


app = FlowStone(
    sales, io={"lake": FilesIO("lake"), "torn": Torn("torn"), "files": FilesIO}
)
"""


@pytest.fixture
def shop(durable: Path) -> Path:
    (durable / "torn_shop.py").write_text(SHOP)
    chosen = ("--app", "torn_shop:app")
    assert flowstone(*chosen, "run", "numbers").exit_code == 0
    assert flowstone(*chosen, "run", "lost").exit_code == 1
    return durable


def files(folder: Path) -> list[str]:
    return sorted(it.parts[-3] for it in folder.rglob("*-*-*.json"))


def sweep(*arguments: object) -> Ended:
    return flowstone("--app", "torn_shop:app", "asset", "sweep", *arguments)


def test_a_dry_run_says_what_would_go_and_leaves_it(shop: Path) -> None:
    ended = sweep("--older-than", "0s", "--dry-run")

    assert ended.exit_code == 0
    assert [line.split()[:3] for line in ended.stdout.splitlines()] == [
        ["io", "found", "orphans"],
        ["lake", "1", "0"],
        ["torn", "1", "1"],
    ]
    assert "would delete from torn: {'path': 'sales.lost/_/" in ended.stderr
    assert files(shop) == ["sales.lost", "sales.numbers"]


def test_what_is_young_stays_unless_it_is_asked_for(shop: Path) -> None:
    items = sweep("-o", "json").document["items"]

    assert [(it["io"], it["orphan_count"]) for it in items] == [("lake", 0), ("torn", 0)]
    assert files(shop) == ["sales.lost", "sales.numbers"]


def test_it_deletes_orphans_and_nothing_else(shop: Path) -> None:
    items = sweep("--older-than", "0s", "-o", "json").document["items"]

    assert [(it["io"], it["orphan_count"]) for it in items] == [("lake", 0), ("torn", 1)]
    assert files(shop) == ["sales.numbers"]
    value = flowstone("--app", "torn_shop:app", "asset", "value", "numbers")
    assert value.stdout == "[1]\n"


def test_one_manager_can_be_named_and_an_unknown_one_is_refused(shop: Path) -> None:
    (item,) = sweep("--io", "lake", "-o", "json").document["items"]
    unknown = sweep("--io", "lak")

    assert item["io"] == "lake"
    assert unknown.exit_code == 2
    assert "Did you mean 'lake'" in unknown.stderr


def test_a_place_that_only_a_call_has_named_is_swept_when_it_is_named(shop: Path) -> None:
    place = ("--io", 'files {"root": "elsewhere"}')
    assert flowstone("--app", "torn_shop:app", "run", "numbers", *place).exit_code == 0

    (item,) = sweep(*place, "-o", "json").document["items"]

    assert (item["io"], item["found_count"]) == ('files {"root":"elsewhere"}', 1)


def test_one_that_fails_is_told_and_the_exit_code_says_so(shop: Path) -> None:
    (shop / "torn").rename(shop / "away")
    (shop / "torn").write_text("no folder")

    ended = sweep("--older-than", "0s")

    assert ended.exit_code == 1
    assert "cannot list" in ended.stdout


def test_without_any_manager_there_is_nothing_to_do(durable: Path) -> None:
    ended = flowstone("asset", "sweep")

    assert (ended.exit_code, ended.stdout) == (0, "no IO manager to sweep\n")
