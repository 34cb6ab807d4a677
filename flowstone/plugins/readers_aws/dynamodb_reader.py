"""The item reader of a DynamoDB table or index."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue
from flowstone.core.reader_options import options_of
from flowstone.plugins.readers_aws.client import Client, ClientOptions, open_client
from flowstone.plugins.readers_aws.wire_format import (
    from_wire,
    key_from_json,
    key_to_json,
    to_wire,
)


@dataclass(frozen=True, kw_only=True)
class DynamoDBOptions(ClientOptions):
    """What `DynamoDBReader` takes; see there."""

    table: str
    index: str | None = None
    key_condition: str | None = None
    filter_expression: str | None = None
    projection_expression: str | None = None
    expression_attribute_names: Mapping[str, str] | None = None
    expression_attribute_values: Mapping[str, object] | None = None
    consistent_read: bool = False

    @property
    def operation(self) -> str:
        """What is asked for: a query where there is a key condition, otherwise a scan."""
        return "scan" if self.key_condition is None else "query"

    @property
    def request(self) -> Mapping[str, object]:
        """What every page is asked with."""
        values = self.expression_attribute_values
        given = {
            "TableName": self.table,
            "IndexName": self.index,
            "KeyConditionExpression": self.key_condition,
            "FilterExpression": self.filter_expression,
            "ProjectionExpression": self.projection_expression,
            "ExpressionAttributeNames": self.expression_attribute_names,
            "ExpressionAttributeValues": None
            if values is None
            else {name: to_wire(it) for name, it in values.items()},
            "ConsistentRead": self.consistent_read or None,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class DynamoDBState:
    """
    How a reading stands.

    Attributes:
        last_key: Of the last item that DynamoDB looked at, as on the wire; None is the beginning,
            or the end.
    """

    options: DynamoDBOptions
    client: Client
    last_key: Mapping[str, Any] | None = None
    is_done: bool = False


class DynamoDBReader(ItemReader[DynamoDBState]):
    """
    Reads the items of a table: of a scan, or of a query where there is a ``key_condition``.

    An item is a mapping of plain values: numbers are `int`, or `Decimal` with a fraction.

    Configuration:
        table: Its name.
        index: Read this index instead.
        key_condition: ``"shop = :shop"``, a KeyConditionExpression.
        filter_expression: What is left out, by DynamoDB, after it was read and paid for.
        projection_expression: Which attributes.
        expression_attribute_names: ``{"#name": "name"}``.
        expression_attribute_values: ``{":shop": "eu"}``, plain values.
        consistent_read: Read what was written last.
        region_name, endpoint_url, aws_access_key_id, aws_secret_access_key, aws_session_token:
            How AWS is reached; from the environment where they are not given.
    """

    contract_version = "1.0.0"

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> DynamoDBState:
        """Return the state before the first item; see `ItemReader.init`."""
        options = options_of(DynamoDBOptions, config)
        client = await open_client("dynamodb", options, reader="the reader of DynamoDB items")
        return DynamoDBState(options, client)

    async def read(self, state: DynamoDBState, limit: int) -> Read[DynamoDBState]:
        """Return the next items; see `ItemReader.read`."""
        if state.is_done:
            return Read([], state, is_last=True)
        start = {} if state.last_key is None else {"ExclusiveStartKey": state.last_key}
        options = state.options
        answer = await state.client.call(options.operation, **options.request, **start, Limit=limit)
        items = [
            {name: from_wire(it) for name, it in found.items()} for found in answer.get("Items", ())
        ]
        last_key = answer.get("LastEvaluatedKey") or None
        moved = replace(state, last_key=last_key, is_done=last_key is None)
        return Read(items, moved, is_last=moved.is_done)

    def checkpoint(self, state: DynamoDBState) -> JsonValue:
        """Return the key of the last item that was looked at."""
        key = None if state.last_key is None else key_to_json(state.last_key)
        return {"last_key": key, "is_done": state.is_done}

    async def restore(self, state: DynamoDBState, checkpoint: JsonValue) -> DynamoDBState:
        """Return the state after the item with a key."""
        match checkpoint:
            case {"last_key": dict() | None as key, "is_done": bool(is_done)}:
                last_key = None if key is None else key_from_json(key)
                return replace(state, last_key=last_key, is_done=is_done)
        raise InvalidOptionError(f"{checkpoint!r} is no position in a table")

    async def close(self, state: DynamoDBState) -> None:
        """Close the client."""
        await state.client.close()
