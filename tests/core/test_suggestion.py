import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.suggestion import jaro, suggest


@pytest.mark.conformance(118)
def test_the_similarity_is_that_of_the_original() -> None:
    assert round(jaro("greting", "greeting"), 3) == 0.958
    assert round(jaro("MARTHA", "MARHTA"), 3) == 0.944
    assert round(jaro("DIXON", "DICKSONX"), 3) == 0.767


@given(st.text(max_size=8), st.text(max_size=8))
def test_similarity_is_between_nothing_and_equality(left: str, right: str) -> None:
    assert 0.0 <= jaro(left, right) <= 1.0
    assert jaro(left, left) == 1.0


def test_the_closest_name_is_suggested() -> None:
    assert suggest("greting", ["meeting", "greeting", "other"]) == "greeting"


def test_names_of_one_pipeline_are_compared_by_their_last_part() -> None:
    assert suggest("sales.x", ["sales.orders", "sales.report"]) is None
    assert suggest("sales.reprot", ["sales.orders", "sales.report"]) == "sales.report"


def test_a_bare_name_finds_the_qualified_one() -> None:
    assert suggest("reprot", ["sales.orders", "sales.report"]) == "sales.report"


def test_a_misspelled_pipeline_is_found() -> None:
    assert suggest("saels.report", ["sales.report", "other.orders"]) == "sales.report"
