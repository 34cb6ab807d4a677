"""Items of a DynamoDB table, scanned and queried over HTTP."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import boto3
import pytest

from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.errors import InvalidOptionError, ReaderError
from flowstone.plugins.readers_aws import DynamoDBReader, client
from flowstone.plugins.readers_aws.wire_format import from_wire, key_from_json, key_to_json, to_wire
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from tests.plugins.reading import crashing_after_each_page, pages_of

EU = [{"shop": "eu", "nr": it, "price": Decimal("1.5"), "tags": ["a", None]} for it in range(1, 8)]
US = [{"shop": "us", "nr": it} for it in range(1, 4)]


@pytest.fixture(scope="module")
def orders(aws: dict[str, Any]) -> dict[str, Any]:
    """A configuration that reads EU, of a table with US too."""
    dynamodb, table = boto3.client("dynamodb", **aws), "orders"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[
            {"AttributeName": "shop", "KeyType": "HASH"},
            {"AttributeName": "nr", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "shop", "AttributeType": "S"},
            {"AttributeName": "nr", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in [*EU, *US]:
        dynamodb.put_item(
            TableName=table, Item={name: to_wire(value) for name, value in item.items()}
        )
    dynamodb.close()
    return {
        **aws,
        "table": table,
        "key_condition": "shop = :shop",
        "expression_attribute_values": {":shop": "eu"},
    }


def scanning(orders: dict[str, Any], **more: Any) -> dict[str, Any]:
    left_out = ("key_condition", "expression_attribute_values")
    return {name: it for name, it in orders.items() if name not in left_out} | more


class TestQuery(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return DynamoDBReader()

    @pytest.fixture
    async def config(self, orders: dict[str, Any]) -> Mapping[str, object]:
        return orders

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return EU


class TestFilteredScan(TestQuery):
    @pytest.fixture
    async def config(self, orders: dict[str, Any]) -> Mapping[str, object]:
        return scanning(
            orders,
            filter_expression="#shop = :shop",
            expression_attribute_names={"#shop": "shop"},
            expression_attribute_values={":shop": "eu"},
            consistent_read=True,
        )


@pytest.mark.parametrize("size", [2])
async def test_a_crash_after_or_within_any_page_loses_and_repeats_nothing(
    orders: dict[str, Any], size: int
) -> None:
    queried = await crashing_after_each_page(DynamoDBReader, {**orders, "page_size": size})
    scanned = await crashing_after_each_page(DynamoDBReader, scanning(orders, page_size=size))

    assert queried == EU
    assert sorted((it["shop"], it["nr"]) for it in scanned) == sorted(
        (it["shop"], it["nr"]) for it in [*EU, *US]
    )


@pytest.mark.conformance(273)
async def test_a_key_condition_makes_it_a_query(
    orders: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    call = client.Client.call

    async def heard(self: client.Client, operation: str, **request: Any) -> Any:
        asked.append(operation)
        return await call(self, operation, **request)

    monkeypatch.setattr(client.Client, "call", heard)
    await pages_of(DynamoDBReader, orders)
    await pages_of(DynamoDBReader, scanning(orders))

    assert asked == ["query", "scan"]


async def test_a_page_whose_items_are_all_left_out_ends_nothing(orders: dict[str, Any]) -> None:
    config = {**orders, "filter_expression": "nr >= :least", "page_size": 2}
    config["expression_attribute_values"] = {":shop": "eu", ":least": 6}

    pages = await pages_of(DynamoDBReader, config)

    assert [it["nr"] for page in pages for it in page.items] == [6, 7]
    assert [len(page.items) for page in pages][:2] == [0, 0]


async def test_attributes_are_chosen(orders: dict[str, Any]) -> None:
    config = {**orders, "projection_expression": "nr", "max_items": 2}

    pages = await pages_of(DynamoDBReader, config)

    assert [it for page in pages for it in page.items] == [{"nr": 1}, {"nr": 2}]


async def test_what_is_wrong_is_no_passing_failure(orders: dict[str, Any]) -> None:
    for wrong in ({"table": "nobody"}, {"index": "nobody"}, {"key_condition": "oops"}):
        with pytest.raises(ReaderError) as caught:
            await pages_of(DynamoDBReader, {**orders, **wrong})
        assert not caught.value.retryable


async def test_nobody_answering_is_retryable(orders: dict[str, Any]) -> None:
    with pytest.raises(ReaderError) as caught:
        await pages_of(DynamoDBReader, {**orders, "endpoint_url": "http://127.0.0.1:1"})

    assert caught.value.retryable


VALUES: list[Any] = [
    None,
    True,
    "näme",
    b"\x00\xff",
    7,
    Decimal("1.25"),
    ["a", {"b": [1, None]}],
    {"a": {"b": False}},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_go_to_the_wire_and_back(value: object) -> None:
    assert from_wire(to_wire(value)) == value
    assert type(from_wire(to_wire(value))) is type(value)


def test_sets_and_fractions_come_from_the_wire() -> None:
    assert from_wire({"NS": ["1", "2.5"]}) == {1, Decimal("2.5")}
    assert from_wire({"SS": ["a"]}) == {"a"}
    assert to_wire(0.1) == {"N": "0.1"}
    with pytest.raises(InvalidOptionError, match="no type for"):
        to_wire(object())
    with pytest.raises(InvalidOptionError, match="unknown type X"):
        from_wire({"X": 1})


def test_keys_with_bytes_cross_json() -> None:
    key = {"a": {"B": b"\x00\xff"}, "b": {"N": "1"}, "c": {"S": "x"}}

    assert key_from_json(key_to_json(key)) == key  # type: ignore[arg-type]
