import copy
import enum
import inspect
import pickle
from datetime import timedelta

import pytest

from flowstone.core import errors
from flowstone.core.errors import (
    AssetFunctionError,
    DatabaseError,
    DatabaseUnreachableError,
    DefinitionError,
    DependencyCycleError,
    DependencyFailedError,
    DependencyNotReadyError,
    FailedMaterialization,
    FlowStoneError,
    HandleTimeoutError,
    MaterializationTimeoutError,
    MissingExtraError,
    NotRegisteredError,
    OpenWait,
    Problem,
    RunFailedError,
    RunWaiting,
    StorageError,
    UnknownAssetError,
    ValidationFailedError,
    ValueNotStorableError,
    reason_text,
)

CLASSES = [
    kind
    for name in errors.__all__
    if inspect.isclass(kind := getattr(errors, name)) and issubclass(kind, FlowStoneError)
]

EXAMPLES = [
    FlowStoneError("boom", context={"n": 1}, retryable=True),
    DefinitionError(problems=[Problem("is wrong", where="a.py:1", asset="p.a", fix="x = 1")]),
    UnknownAssetError("greting", ["greeting"]),
    DependencyCycleError(["a", "b", "a"]),
    NotRegisteredError("IO manager", "lak", ["lake"]),
    MissingExtraError("io_s3", "s3"),
    AssetFunctionError.wrapping(ValueError("boom"), asset="p.a", partition="1", run_id=7),
    DependencyFailedError("p.up", asset="p.a"),
    DependencyNotReadyError(["p.up"], asset="p.a"),
    MaterializationTimeoutError(timedelta(milliseconds=50), asset="p.a"),
    ValueNotStorableError("is NaN", path="$.a", advice="use None"),
    RunFailedError(3, [FailedMaterialization("p.a", "", {"message": "boom"})]),
    RunWaiting(3, [OpenWait("p.a", "", "approval")]),
    HandleTimeoutError(3, timedelta(seconds=1)),
    DatabaseError("gone", sqlstate="57P01"),
]


class TestEveryError:
    def test_codes_are_distinct(self) -> None:
        codes = [kind.code for kind in CLASSES]

        assert sorted(set(codes)) == sorted(codes)

    def test_names_end_in_error_except_for_what_is_no_failure(self) -> None:
        assert {"RunWaiting"} == {k.__name__ for k in CLASSES if not k.__name__.endswith("Error")}

    def test_every_class_is_drawn_in_the_tree(self) -> None:
        assert [k.__name__ for k in CLASSES if k.__name__ not in (errors.__doc__ or "")] == []

    def test_the_docstring_is_the_default_message(self) -> None:
        assert str(StorageError()) == "An IO manager failed."

    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy], ids=["deepcopy", "copy"])
    def test_a_copy_has_the_message_and_the_facts(self, error, copied) -> None:
        again = copied(error)

        assert (type(error), str(error), vars(error)) == (type(again), str(again), vars(again))

    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    def test_pickling_keeps_the_message_and_the_facts(self, error) -> None:
        again = pickle.loads(pickle.dumps(error))

        assert (type(error), str(error), vars(error)) == (type(again), str(again), vars(again))

    def test_an_authors_subclass_with_a_signature_of_its_own_pickles(self) -> None:
        again = pickle.loads(pickle.dumps(Declined("card", amount=3)))

        assert (str(again), again.amount) == ("card declined for 3", 3)


class Declined(FlowStoneError):
    """A payment was declined."""

    def __init__(self, method: str, *, amount: int) -> None:
        self.amount = amount
        super().__init__(f"{method} declined for {amount}")


class TestRetryable:
    @pytest.mark.conformance(115)
    def test_it_is_a_fact_of_the_class(self) -> None:
        assert DependencyNotReadyError(["x"]).retryable
        assert MaterializationTimeoutError(timedelta(seconds=1)).retryable
        assert not AssetFunctionError().retryable
        assert not DependencyFailedError("x").retryable
        assert not UnknownAssetError("x").retryable
        assert not ValidationFailedError().retryable

    def test_one_instance_can_say_otherwise(self) -> None:
        assert StorageError("busy", retryable=True).retryable
        assert not StorageError("denied").retryable

    @pytest.mark.parametrize("sqlstate", ["08006", "40001", "40P01", "53300", "57P01"])
    def test_lost_connections_deadlocks_and_restarts_are(self, sqlstate) -> None:
        assert DatabaseError(sqlstate=sqlstate).retryable

    @pytest.mark.parametrize("sqlstate", ["23505", "42P01", "57014", "22021", None])
    def test_other_database_errors_are_not(self, sqlstate) -> None:
        assert not DatabaseError(sqlstate=sqlstate).retryable

    @pytest.mark.parametrize("sqlstate", ["55P03", "57014", "57P01"])
    def test_what_was_cut_short_is_not_and_another_attempt_may_pass(self, sqlstate) -> None:
        assert DatabaseError(sqlstate=sqlstate).may_pass
        assert not DatabaseError(sqlstate="23505").may_pass

    def test_an_unreachable_database_is_unless_it_answered_with_a_refusal(self) -> None:
        assert DatabaseUnreachableError().retryable
        assert not DatabaseUnreachableError(sqlstate="28P01").retryable


class TestMessages:
    @pytest.mark.conformance(116)
    def test_a_timeout_says_how_many_milliseconds(self) -> None:
        error = MaterializationTimeoutError(timedelta(milliseconds=50))

        assert str(error) == "Asset execution timed out after 50ms"

    @pytest.mark.parametrize(
        ("timeout", "shown"),
        [
            (timedelta(minutes=10), "600000ms"),
            (timedelta(microseconds=1500), "1.5ms"),
            (timedelta(days=30), "2592000000ms"),
        ],
    )
    def test_a_timeout_of_any_length_is_shown_exactly(self, timeout, shown) -> None:
        assert str(MaterializationTimeoutError(timeout)).endswith(f"after {shown}")

    @pytest.mark.conformance(118)
    def test_a_misspelled_asset_is_suggested_and_the_known_ones_listed(self) -> None:
        error = UnknownAssetError("greting", ["farewell", "greeting"])

        assert error.suggestion == "greeting"
        assert error.available == ("farewell", "greeting")
        assert error.context["available"] == ["farewell", "greeting"]
        assert "Did you mean 'greeting'?" in str(error)

    def test_nothing_is_suggested_for_what_is_like_nothing(self) -> None:
        error = UnknownAssetError("unknown_asset", ["greeting", "farewell"])

        assert error.suggestion is None
        assert "Did you mean" not in str(error)

    def test_a_cycle_is_shown_as_a_path(self) -> None:
        assert "a → b → a" in str(DependencyCycleError(["a", "b", "a"]))

    def test_all_problems_are_listed_with_place_and_fix(self) -> None:
        error = DefinitionError(
            problems=[
                Problem("parameter 'n' has no source", "a.py:3", "p.a", "n: int = Dep(n)"),
                Problem("is defined twice", "b.py:9", "p.b"),
            ]
        )

        assert str(error) == (
            "a.py:3  asset 'p.a': parameter 'n' has no source\n"
            "      n: int = Dep(n)\n"
            "b.py:9  asset 'p.b': is defined twice"
        )

    def test_a_missing_extra_says_what_to_install(self) -> None:
        assert str(MissingExtraError("io_s3", "s3")) == "io_s3 needs: pip install 'flowstone[s3]'"

    def test_a_failed_run_names_its_first_failures_and_counts_the_rest(self) -> None:
        failures = [FailedMaterialization(f"p.a{n}", "1", {"message": "boom"}) for n in range(12)]

        lines = str(RunFailedError(5, failures)).splitlines()

        assert lines[0] == "run 5 failed:"
        assert lines[1] == "  p.a0[1]: boom"
        assert lines[-1] == "  and 2 more"

    def test_an_open_wait_says_what_for(self) -> None:
        error = RunWaiting(5, [OpenWait("p.trade", "", "approval")])

        assert str(error) == "run 5 waits: p.trade for approval"


class Color(enum.Enum):
    RED = 1


class TestReasons:
    @pytest.mark.conformance(96, 123)
    @pytest.mark.parametrize(
        ("reason", "text"),
        [
            ("boom", "boom"),
            (RuntimeError("boom"), "boom"),
            (KeyError("id"), "KeyError: 'id'"),
            (ValueError(), "ValueError"),
            (Color.RED, "RED"),
            ({"a": 1}, "{'a': 1}"),
            ("", "no reason given"),
            (ValueError, "ValueError"),
        ],
    )
    def test_any_reason_reads_as_words(self, reason, text) -> None:
        assert text == reason_text(reason)
        assert f"Asset execution failed: {text}" == str(AssetFunctionError.wrapping(reason))

    def test_a_reason_that_cannot_be_printed_is_no_second_failure(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise ValueError

        assert "cannot be printed" in reason_text(Broken())

    @pytest.mark.conformance(97)
    def test_the_original_exception_is_the_cause(self) -> None:
        original = RuntimeError("boom")

        error = AssetFunctionError.wrapping(original)

        assert original is error.__cause__
        assert not error.retryable
