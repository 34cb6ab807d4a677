from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.defaults.iterable_reader import IterableReader
from flowstone.core.function_reader import function_reader
from flowstone.testing.contracts.item_reader_contract import (
    ItemReaderContract,
    ResumableReaderContract,
)
from tests.core.numbers_reader import Numbers

SEVEN = [{"value": it} for it in range(1, 8)]


class TestNumbers(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return Numbers()

    @pytest.fixture
    async def config(self) -> Mapping[str, object]:
        return {"upto": 7}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return SEVEN


class TestFiltered(TestNumbers):
    @pytest.fixture
    async def config(self) -> Mapping[str, object]:
        return {"upto": 14, "even_only": True}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return [{"value": it} for it in range(2, 15, 2)]


class TestFunctionReader(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        def read(state: dict[str, int], limit: int) -> Read[dict[str, int]]:
            end = state["position"] + limit
            return Read(SEVEN[state["position"] : end], {"position": end}, is_last=end >= 7)

        return function_reader(
            init=lambda config, deps: {"position": 0},
            read=read,
            checkpoint=dict,
            restore=lambda state, position: dict(position),
        )

    @pytest.fixture
    async def config(self) -> Mapping[str, object]:
        return {}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return SEVEN


class TestItems(ItemReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return IterableReader()

    @pytest.fixture
    async def config(self) -> Mapping[str, object]:
        return {"items": SEVEN}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return SEVEN
