import json

import pytest

from flowstone.core.error_record import TRACEBACK_BYTES, describe, harmless, shorten
from flowstone.core.errors import AssetFunctionError, ResourceUnavailableError


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


class TestARecord:
    def test_an_authors_exception_is_named_and_its_traceback_kept(self) -> None:
        author = raised(ValueError("boom"))

        record = describe(AssetFunctionError.wrapping(author, asset="p.a", run_id=7))

        assert record["type"] == "ValueError"
        assert record["message"] == "Asset execution failed: ValueError: boom"
        assert record["code"] == "execution_error"
        assert record["retryable"] is False
        assert "raise error from cause" in record["traceback"]
        assert record["causes"] == [{"type": "ValueError", "message": "boom"}]
        assert record["context"] == {"asset": "p.a", "partition": "", "run_id": 7}

    def test_an_error_of_ours_is_named_with_its_module(self) -> None:
        record = describe(ResourceUnavailableError("shop is closed"), with_traceback=False)

        assert record["type"] == "flowstone.core.errors.work.ResourceUnavailableError"
        assert record["retryable"] is True
        assert "traceback" not in record

    def test_the_chain_of_causes_is_kept(self) -> None:
        error = raised(ValueError("outer"), raised(KeyError("inner")))

        causes = describe(error)["causes"]

        assert causes == [{"type": "KeyError", "message": "'inner'"}]

    def test_causes_in_a_circle_end(self) -> None:
        first, second = ValueError("1"), ValueError("2")
        first.__cause__, second.__cause__ = second, first

        assert len(describe(first)["causes"]) == 1


class TestWhateverAnAuthorRaises:
    @pytest.mark.parametrize(
        "message", ["nul \0 in it", "lone \ud800 surrogate", "x" * 10**6, "ü" * 10**5, ""]
    )
    def test_the_record_is_json_that_a_database_takes(self, message) -> None:
        text = json.dumps(describe(raised(ValueError(message))), ensure_ascii=False)

        assert len(text.encode("utf-8")) < 20_000
        assert "\\u0000" not in text

    def test_an_exception_that_cannot_be_printed_is_described(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise ValueError

        assert "cannot be printed" in describe(raised(Broken()))["message"]

    def test_context_becomes_json(self) -> None:
        error = ResourceUnavailableError(context={"path": {1: object, "deep": [[[[[[1]]]]]]}})

        json.dumps(describe(error)["context"], allow_nan=False)

    def test_endless_recursion_is_cut(self) -> None:
        def forever() -> None:
            forever()

        try:
            forever()
        except RecursionError as error:
            record = describe(error)

        assert record["type"] == "RecursionError"
        assert len(record["traceback"]) <= TRACEBACK_BYTES


def test_a_long_text_loses_its_middle() -> None:
    text = shorten("a" * 500 + "b" * 500, 200)

    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert "bytes left out" in text
    assert len(text.encode()) <= 200


def test_a_harmless_text_is_unchanged() -> None:
    assert harmless("grün \\x00 🙂") == "grün \\x00 🙂"
