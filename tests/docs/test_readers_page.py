"""The page about readers runs, and the readers that it shows keep the contract."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flowstone import run_sync
from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.errors import RunFailedError
from flowstone.core.plugin import discover, load
from flowstone.core.registries import in_memory
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from tests.architecture.sources import ROOT
from tests.docs.test_pages import run

PAGE = "docs/readers.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the page's program has defined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("page")))
        return run(PAGE)


def test_a_reader_that_does_not_know_an_option_refuses_it(page: Mapping[str, Any]) -> None:
    with pytest.raises(RunFailedError, match="there is no 'pattern'"):
        run_sync(page["test"], page["size"])


def test_the_page_lists_the_readers_that_plugins_register() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\|[^|]*\| `(\w+)` \(`(\w+)`\)", text, flags=re.MULTILINE))
    registries = in_memory()
    for name in discover():
        if name.startswith("readers_"):
            load(name).register(registries)

    registered = {name: registries.readers.resolve(name)[0] for name in registries.readers}
    assert {name: it for it, name in listed.items()} == {
        name: getattr(it, "__name__", None) for name, it in registered.items()
    }


class TestTheClass(ResumableReaderContract):
    @pytest.fixture
    async def reader(self, page: Mapping[str, Any]) -> ItemReader[Any]:
        made: ItemReader[Any] = page["CountReader"]()
        return made

    @pytest.fixture
    async def config(self) -> Mapping[str, object]:
        return {"upto": 7}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return [{"number": it} for it in range(7)]
