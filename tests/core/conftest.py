"""What several tests of the core begin with."""

import pytest

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.item_reading import ItemReading
from flowstone.core.pipeline import Pipeline
from flowstone.core.registries import in_memory
from flowstone.core.telemetry import Telemetry


@pytest.fixture(scope="module")
def codec() -> JsonCodec:
    return JsonCodec()


@pytest.fixture
def reading() -> ItemReading:
    return ItemReading(in_memory().readers, ErrorNormalizer(), Telemetry())


@pytest.fixture
def sales() -> Pipeline:
    sales = Pipeline("sales")

    @sales.asset
    def numbers() -> list[int]:
        return [1, 2, 3]

    return sales
