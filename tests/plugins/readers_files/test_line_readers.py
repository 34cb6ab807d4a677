"""Records of CSV and JSON-lines files, and where reading goes on in them."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.errors import InvalidOptionError, ReaderError
from flowstone.plugins.readers_files import CsvReader, JsonLinesReader
from flowstone.testing.contracts.item_reader_contract import ResumableReaderContract
from tests.plugins.reading import crashing_after_each_page, pages_of

ROWS: list[dict[str, Any]] = [{"id": it, "name": f"näme {it}"} for it in range(7)]
JSON_LINES = "\n".join(json.dumps(it, ensure_ascii=False) for it in ROWS) + "\n"

CSV = 'id,name\r\n1,Ada\r\n2,"Grace, ""the\r\nadmiral"""\r\n\r\n3,\r\n4,"\n"\r\n5,Zoë\r\n6,last'
RECORDS = [
    {"id": "1", "name": "Ada"},
    {"id": "2", "name": 'Grace, "the\r\nadmiral"'},
    {"id": "3", "name": ""},
    {"id": "4", "name": "\n"},
    {"id": "5", "name": "Zoë"},
    {"id": "6", "name": "last"},
]


class TestJsonLines(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return JsonLinesReader()

    @pytest.fixture
    async def config(self, tmp_path: Path) -> Mapping[str, object]:
        (tmp_path / "rows.jsonl").write_text(JSON_LINES, encoding="utf-8")
        return {"path": tmp_path / "rows.jsonl"}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return ROWS


class TestCompressedJsonLines(TestJsonLines):
    @pytest.fixture
    async def config(self, tmp_path: Path) -> Mapping[str, object]:
        (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(JSON_LINES.encode()))
        return {"path": str(tmp_path / "rows.jsonl.gz")}


class TestJsonLinesWithGaps(TestJsonLines):
    """Empty lines, a mark of byte order, and no end of the last line."""

    @pytest.fixture
    async def config(self, tmp_path: Path) -> Mapping[str, object]:
        text = "\n\n" + JSON_LINES.strip().replace("\n", "\r\n\r\n")
        (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8-sig", newline="")
        return {"path": tmp_path / "rows.jsonl"}


class TestCsv(ResumableReaderContract):
    @pytest.fixture
    async def reader(self) -> ItemReader[Any]:
        return CsvReader()

    @pytest.fixture
    async def config(self, tmp_path: Path) -> Mapping[str, object]:
        (tmp_path / "rows.csv").write_text(CSV, encoding="utf-8-sig", newline="")
        return {"path": tmp_path / "rows.csv"}

    @pytest.fixture
    async def items(self) -> Sequence[object]:
        return RECORDS


class TestCsvOfAnotherKind(TestCsv):
    @pytest.fixture
    async def config(self, tmp_path: Path) -> Mapping[str, object]:
        rows = ["1;Ada", "2;'Grace, \"the\r\nadmiral\"'", "3;", "4;'\n'", "5;Zoë", "6;last"]
        content = gzip.compress("\r\n".join(rows).encode("latin-1"))
        (tmp_path / "rows.csv.gz").write_bytes(content)
        return {
            "path": tmp_path / "rows.csv.gz",
            "delimiter": ";",
            "quotechar": "'",
            "encoding": "latin-1",
            "fields": ["id", "name"],
        }


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_crash_after_or_within_any_page_loses_and_repeats_nothing(
    tmp_path: Path, size: int
) -> None:
    (tmp_path / "rows.jsonl").write_text(JSON_LINES, encoding="utf-8")
    (tmp_path / "rows.csv").write_text(CSV, encoding="utf-8", newline="")

    lines = {"path": tmp_path / "rows.jsonl", "page_size": size}
    records = {"path": tmp_path / "rows.csv", "page_size": size}

    assert await crashing_after_each_page(JsonLinesReader, lines) == ROWS
    assert await crashing_after_each_page(CsvReader, records) == RECORDS


async def test_what_is_appended_after_a_crash_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 1}\n{"id": 2}\n')
    [first] = await pages_of(JsonLinesReader, {"path": file, "page_size": 1}, upto=1)
    with file.open("a") as opened:
        opened.write('{"id": 3}\n')

    rest = await pages_of(JsonLinesReader, {"path": file}, first.progress)

    assert [it["id"] for page in rest for it in page.items] == [2, 3]


@pytest.mark.parametrize("other", ['{"id": 9}\n{"id": 2}\n', "", '{"id": 1'])
async def test_a_file_that_was_replaced_is_not_gone_on_with(tmp_path: Path, other: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 1}\n{"id": 2}\n')
    [first] = await pages_of(JsonLinesReader, {"path": file, "page_size": 1}, upto=1)
    file.write_text(other)

    with pytest.raises(ReaderError, match=r"rows.jsonl was replaced while it was read: line 1 "):
        await pages_of(JsonLinesReader, {"path": file}, first.progress)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"id": 1}\n\n{"id": }\n', "line 3 is not JSON: Expecting value"),
        (b'{"id": 1}\n{"id": "\xff"}\n', "line 2 is not JSON: .*can't decode byte 0xff"),
    ],
)
async def test_a_line_that_is_not_json_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)

    with pytest.raises(ReaderError, match=said):
        await pages_of(JsonLinesReader, {"path": tmp_path / "rows.jsonl"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'a,b\n"1\n2",3\n4\n', "line 4 has 1 fields, and there are 2 names: a, b"),
        (b"a,b\n1,2,3\n", "line 2 has 3 fields"),
        (b'a,b\n1,"2\n', "line 2 is not CSV: unexpected end of data"),
        (b"a,b\n1,\xff\n", "line 2 is not utf-8"),
    ],
)
async def test_a_record_that_does_not_fit_is_named(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)

    with pytest.raises(ReaderError, match=said):
        await pages_of(CsvReader, {"path": tmp_path / "rows.csv"})


@pytest.mark.parametrize("size", [1, 2])
async def test_a_file_without_records_has_no_items(tmp_path: Path, size: int) -> None:
    (tmp_path / "rows.csv").write_text("id,name\n")
    (tmp_path / "rows.jsonl").write_text("")

    for reader, name in ((CsvReader, "rows.csv"), (JsonLinesReader, "rows.jsonl")):
        [page] = await pages_of(reader, {"path": tmp_path / name, "page_size": size})
        assert (page.items, page.is_last) == ([], True)


async def test_two_fields_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,a\n1,2,3\n")

    with pytest.raises(InvalidOptionError, match=r"two fields named 'a'.*rename it"):
        await pages_of(CsvReader, {"path": tmp_path / "rows.csv"})


async def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"none.jsonl cannot be read: .*No such file"):
        await pages_of(JsonLinesReader, {"path": tmp_path / "none.jsonl"})
    for wrong, said in [
        ({"delimiter": ";;"}, "delimiter=';;' must be one character"),
        ({"encoding": "utf-16"}, "its lines do not end in a byte"),
        ({"encoding": "klingon"}, "encoding='klingon' is not known"),
        ({"delimitr": ";"}, "did you mean 'delimiter'"),
    ]:
        with pytest.raises(InvalidOptionError, match=said):
            await pages_of(CsvReader, {"path": tmp_path, **wrong})
