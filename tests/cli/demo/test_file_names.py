import json
import os

from hypothesis import given
from hypothesis import strategies as st

from flowstone.cli.demo.file_names import one_line, to_name, to_text


@given(st.binary().map(os.fsdecode))
def test_any_file_name_comes_back_from_text_that_json_and_postgres_take(name: str) -> None:
    text = to_text(name)

    json.dumps(text).encode("utf-8")
    assert "\0" not in text
    assert to_name(text) == name


@given(st.binary().map(os.fsdecode))
def test_two_file_names_never_share_a_text(name: str) -> None:
    assert to_text(name) != to_text(name + "\\")
    assert to_text(name) != to_text(name + "\udcff")


def test_a_common_name_is_its_own_text() -> None:
    assert to_text("package/größe é.py") == "package/größe é.py"


def test_a_name_cannot_steer_a_terminal() -> None:
    assert to_text("a\x1b[2J") == r"a\u001b[2J"


def test_one_line_collapses_white_space_and_replaces_what_cannot_be_shown() -> None:
    assert one_line("  a\n\tb\x1b[31m \0 ") == "a b�[31m �"


def test_one_line_says_that_it_was_cut() -> None:
    assert one_line("abcdef", 4) == "abc…"
