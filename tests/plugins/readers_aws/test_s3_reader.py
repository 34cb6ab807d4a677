"""Objects of a bucket, listed over HTTP."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
import pytest

from flowstone import Dep, FlowStone, Pipeline, reader
from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.contracts.item_source import ItemSource
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.errors import InvalidOptionError, MissingExtraError, ReaderError
from flowstone.plugins.readers_aws import DynamoDBReader, S3Reader, client
from flowstone.plugins.readers_aws.plugin import AwsReadersPlugin
from flowstone.plugins.scatter import Results, scatter
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from flowstone.testing.contracts.plugin_contract import PluginContract
from tests.plugins.reading import crashing_after_each_page, pages_of

KEYS = [f"docs/{it}.pdf" for it in range(1, 8)]
OTHERS = ["docs/readme.txt", "docs/1.txt", "a.pdf", "other/1.pdf"]


@pytest.fixture(scope="module")
def docs(aws: dict[str, Any]) -> dict[str, Any]:
    """A configuration that reads KEYS, of a bucket with more than these."""
    s3, bucket = boto3.client("s3", **aws), "documents"
    place = {"LocationConstraint": aws["region_name"]}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    for key in [*KEYS, *OTHERS]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    s3.close()
    return {**aws, "bucket": bucket, "prefix": "docs/", "suffix": ".pdf"}


def keys(pages: Sequence[Any]) -> list[str]:
    return [item["key"] for page in pages for item in page.items]


class Listing(S3Reader):
    """Tells the keys alone: when an object was written is nobody's to know before."""

    async def read(self, state: Any, limit: int) -> Any:
        read = await super().read(state, limit)
        return type(read)([it["key"] for it in read.items], read.state, read.is_last)  # type: ignore[index]


class TestContract(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return Listing()

    @pytest.fixture
    async def config(self, docs: dict[str, Any]) -> Mapping[str, object]:
        return docs

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return KEYS


class TestPlugin(PluginContract):
    @pytest.fixture
    def plugin(self) -> Plugin:
        return AwsReadersPlugin()


async def test_an_item_says_where_the_object_is_and_what_it_has(docs: dict[str, Any]) -> None:
    [page] = await pages_of(S3Reader, {**docs, "max_items": 1, "prefix": "docs/1.p"})

    assert page.items[0] == {
        "bucket": docs["bucket"],
        "key": "docs/1.pdf",
        "size_bytes": 10,
        "etag": page.items[0]["etag"],
        "last_modified": page.items[0]["last_modified"],
    }
    assert len(page.items[0]["etag"]) == 32
    assert page.items[0]["last_modified"].startswith("20")


@pytest.mark.parametrize("size", [2])
async def test_a_crash_after_or_within_any_page_loses_and_repeats_nothing(
    docs: dict[str, Any], size: int
) -> None:
    items = await crashing_after_each_page(S3Reader, {**docs, "page_size": size})

    assert [it["key"] for it in items] == KEYS


async def test_a_page_whose_objects_are_all_left_out_ends_nothing(docs: dict[str, Any]) -> None:
    pages = await pages_of(S3Reader, {**docs, "suffix": "7.pdf", "page_size": 2})

    assert keys(pages) == ["docs/7.pdf"]
    assert [bool(page.items) for page in pages] == [False, False, False, True, False]


@pytest.mark.conformance(259)
async def test_start_after_is_for_the_first_page_and_the_token_for_the_rest(
    docs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    call = client.Client.call

    async def heard(self: client.Client, operation: str, **request: Any) -> Any:
        asked.append(request)
        return await call(self, operation, **request)

    monkeypatch.setattr(client.Client, "call", heard)
    pages = await pages_of(S3Reader, {**docs, "start_after": "docs/3.pdf", "page_size": 3})

    assert keys(pages) == ["docs/4.pdf", "docs/5.pdf", "docs/6.pdf", "docs/7.pdf"]
    assert [it.get("StartAfter") for it in asked] == ["docs/3.pdf", None]
    assert [bool(it.get("ContinuationToken")) for it in asked] == [False, True]


async def test_a_missing_bucket_is_no_passing_failure(docs: dict[str, Any]) -> None:
    with pytest.raises(ReaderError, match="NoSuchBucket") as caught:
        await pages_of(S3Reader, {**docs, "bucket": "nobody-has-this"})

    assert not caught.value.retryable


async def test_nobody_answering_is_retryable(docs: dict[str, Any]) -> None:
    with pytest.raises(ReaderError, match="Could not connect") as caught:
        await pages_of(S3Reader, {**docs, "endpoint_url": "http://127.0.0.1:1"})

    assert caught.value.retryable


async def test_options_are_checked(docs: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="there is no 'bukket', did you mean 'bucket'"):
        await pages_of(S3Reader, {**docs, "bukket": "a"})


@pytest.mark.conformance(251)
@pytest.mark.parametrize(
    ("reader", "config"), [(S3Reader, {"bucket": "b"}), (DynamoDBReader, {"table": "t"})]
)
async def test_without_its_library_it_says_what_to_install(
    reader: type[ItemReader[Any]], config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def importing(name: str, *given: Any) -> Any:
        if name.startswith("aiobotocore"):
            raise ModuleNotFoundError(name=name)
        return imported(name, *given)

    monkeypatch.setattr(builtins, "__import__", importing)

    with pytest.raises(MissingExtraError, match=r"pip install 'flowstone\[aws\]'"):
        await pages_of(reader, config)


@pytest.mark.conformance(41)
async def test_functions_that_a_scatter_is_given_are_called_when_it_reads(
    docs: dict[str, Any],
) -> None:
    p = Pipeline("p")

    @p.asset
    def folder() -> str:
        return "docs"

    def bucket() -> str:
        return str(docs["bucket"])

    def prefix(inputs: Mapping[str, object]) -> str:
        return f"{inputs['folder']}/"

    said = {
        "bucket": bucket,
        "prefix": prefix,
        "max_items": 250,
        "page_size": 1000,
        "start_after": "docs/3.pdf",
    }

    def listing(folder: str = Dep(folder)) -> ItemSource[dict[str, Any]]:
        return reader("s3", **{**docs, **said})

    async def gathered(results: Results[str, str]) -> list[str]:
        return [it.value async for it in results]

    @p.asset
    @scatter(listing, select=lambda it: str(it["key"]), gather=gathered)
    async def each(key: str) -> str:
        return key

    source = each.phases["items"].function("docs")
    assert isinstance(source, ItemSource)
    assert (source.reader, source.config) == ("s3", {**docs, **said})
    async with FlowStone(p, plugins=[AwsReadersPlugin()]) as app:
        assert await app.run(each) == KEYS[3:]
