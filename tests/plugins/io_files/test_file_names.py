from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core import partition as partitions
from flowstone.core.contracts.io_manager import Address
from flowstone.plugins.io_files import file_names
from flowstone.plugins.io_files.file_names import FileName, folders, path_of, text_of

ADDRESS = Address("sales.report", "2025", 1041, 2, "3f2a9c")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=400)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sales.report", ["sales.report"]),
        ("", ["_"]),
        ("_", ["%5f"]),
        ("d:2025-01-15", ["d%3a2025-01-15"]),
        ("..", ["%2e."]),
        (".hidden", ["%2ehidden"]),
        ("a/b\\c", ["a%2fb%5cc"]),
        ("~", ["%7e"]),
        ("ü", ["%c3%bc"]),
    ],
)
def test_a_text_is_a_name_that_people_can_read(text: str, names: list[str]) -> None:
    assert folders(text) == names
    assert text_of(names) == text


def test_the_path_names_asset_partition_and_attempt() -> None:
    assert str(path_of(ADDRESS, ".json")) == "sales.report/2025/1041-2-3f2a9c.json"
    unpartitioned = replace(ADDRESS, partition="")
    assert str(path_of(unpartitioned, ".bin.gz")) == "sales.report/_/1041-2-3f2a9c.bin.gz"


def test_names_that_differ_in_case_alone_differ_where_case_does_not_count() -> None:
    names = {folders(text)[0].lower() for text in ("eu", "EU", "Eu", "eU")}

    assert len(names) == 4


@given(texts, texts)
def test_two_texts_never_share_a_folder_whatever_the_file_system(first: str, second: str) -> None:
    one, other = folders(first), folders(second)

    for names in (one, other):
        assert all(name and len(name.encode()) <= 175 and name.isascii() for name in names)
        assert not any(name.startswith(".") or "/" in name for name in names)
        assert file_names.is_one_text(names)
    assert text_of(one) == first
    same = [name.lower() for name in one] == [name.lower() for name in other]
    assert same == (first == second)
    assert file_names.is_one_text([*one, *other]) is False


@given(st.tuples(st.text(max_size=40), st.dates(), st.integers()))
def test_any_partition_comes_back_from_its_folders(partition: tuple[object, ...]) -> None:
    try:
        text = partitions.encode(partition)
    except partitions.InvalidPartitionError:
        return

    assert partitions.decode(text_of(folders(text))) == partition


@pytest.mark.parametrize("suffix", [".json", ".bin", ".json.gz", ".bin.gz"])
def test_the_name_of_a_file_says_whose_it_is_finished_or_not(suffix: str) -> None:
    name = FileName(1041, 2, "3f2a9c", suffix)

    assert file_names.read(str(name)) == name
    draft = file_names.read(file_names.temporary(str(name), "ab12"))
    assert draft == replace(name, is_temporary=True)


@pytest.mark.parametrize(
    "name", ["latest.json", "1-1.json", "x-1-a.json", "1-1-A.json", "1-1-a.parquet", ".1-1-a.json"]
)
def test_other_files_are_none_of_ours(name: str) -> None:
    assert file_names.read(name) is None
