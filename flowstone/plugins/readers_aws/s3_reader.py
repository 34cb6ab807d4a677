"""The item reader of the objects of an S3 bucket."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonValue
from flowstone.core.reader_options import options_of
from flowstone.plugins.readers_aws.client import Client, ClientOptions, open_client

LONGEST_PAGE = 1000
"""Objects that S3 lists at most at once."""


@dataclass(frozen=True, kw_only=True)
class S3Options(ClientOptions):
    """What `S3Reader` takes; see there."""

    bucket: str
    prefix: str = ""
    suffix: str = ""
    start_after: str | None = None


@dataclass(frozen=True, slots=True)
class S3State:
    """
    How a reading stands.

    Attributes:
        token: S3's own word for where it goes on; None is the beginning, or the end.
    """

    options: S3Options
    client: Client
    token: str | None = None
    is_done: bool = False


class S3Reader(ItemReader[S3State]):
    """
    Lists the objects of a bucket, in the order of their keys.

    An item is ``{"bucket": …, "key": …, "size_bytes": 12, "etag": …, "last_modified": …}``, the
    last an ISO 8601 text.

    Configuration:
        bucket: Its name.
        prefix: What keys begin with.
        suffix: What keys end in; the others are listed and left out here.
        start_after: Begin after this key.
        region_name, endpoint_url, aws_access_key_id, aws_secret_access_key, aws_session_token:
            How AWS is reached; from the environment where they are not given.
    """

    contract_version = "1.0.0"

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> S3State:
        """Return the state before the first object; see `ItemReader.init`."""
        options = options_of(S3Options, config)
        return S3State(options, await open_client("s3", options, reader="the reader of S3 objects"))

    async def read(self, state: S3State, limit: int) -> Read[S3State]:
        """Return the next objects; see `ItemReader.read`."""
        if state.is_done:
            return Read([], state, is_last=True)
        answer = await state.client.call("list_objects_v2", **_request(state, limit))
        items = [
            _item(state.options.bucket, found)
            for found in answer.get("Contents", ())
            if found["Key"].endswith(state.options.suffix)
        ]
        token = answer.get("NextContinuationToken") if answer.get("IsTruncated") else None
        moved = replace(state, token=token, is_done=token is None)
        return Read(items, moved, is_last=moved.is_done)

    def checkpoint(self, state: S3State) -> JsonValue:
        """Return S3's own word for where it goes on."""
        return {"token": state.token, "is_done": state.is_done}

    async def restore(self, state: S3State, checkpoint: JsonValue) -> S3State:
        """Return the state at a place."""
        match checkpoint:
            case {"token": str() | None as token, "is_done": bool(is_done)}:
                return replace(state, token=token, is_done=is_done)
        raise InvalidOptionError(f"{checkpoint!r} is no position in a bucket")

    async def close(self, state: S3State) -> None:
        """Close the client."""
        await state.client.close()


def _request(state: S3State, limit: int) -> dict[str, object]:
    options = state.options
    request: dict[str, object] = {
        "Bucket": options.bucket,
        "Prefix": options.prefix,
        "MaxKeys": min(limit, LONGEST_PAGE),
    }
    if state.token is not None:
        request["ContinuationToken"] = state.token
    elif options.start_after is not None:
        request["StartAfter"] = options.start_after
    return request


def _item(bucket: str, found: Mapping[str, object]) -> Mapping[str, object]:
    modified = found.get("LastModified")
    return {
        "bucket": bucket,
        "key": found["Key"],
        "size_bytes": found.get("Size"),
        "etag": str(found.get("ETag", "")).strip('"'),
        "last_modified": None if modified is None else modified.isoformat(),  # type: ignore[attr-defined]  # a datetime
    }
