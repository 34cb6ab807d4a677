import asyncio
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.errors import (
    AssetFunctionError,
    DatabaseError,
    DependencyNotReadyError,
    FlowStoneError,
    InvalidOptionError,
    MaterializationTimeoutError,
    StorageError,
    UnknownAssetError,
    ValueNotStorableError,
)
from flowstone.core.retry import DEFAULT_RETRY, Retry

normalize = ErrorNormalizer().normalize


class TestDelays:
    @pytest.mark.conformance(130)
    def test_the_default_delays_are_those_of_the_original(self) -> None:
        retry = Retry(jitter=False)

        assert [retry.delay(n).total_seconds() for n in range(1, 6)] == [30, 90, 270, 300, 300]

    def test_linear_and_constant_delays(self) -> None:
        linear = Retry(backoff="linear", base="10s", cap="25s", jitter=False)
        constant = Retry(backoff="constant", base=2, jitter=False)

        assert [linear.delay(n).total_seconds() for n in (1, 2, 3)] == [10, 20, 25]
        assert [constant.delay(n).total_seconds() for n in (1, 9)] == [2, 2]

    def test_a_function_of_ones_own_says_how_long(self) -> None:
        retry = Retry(backoff=lambda attempt: attempt**2, cap="30s")
        as_delta = Retry(backoff=lambda attempt: timedelta(minutes=attempt))

        assert [retry.delay(n).total_seconds() for n in (1, 2, 5, 6)] == [1, 4, 25, 30]
        assert as_delta.delay(3) == timedelta(minutes=3)

    def test_what_is_no_backoff_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match="backoff='quadratic' must be"):
            Retry(backoff="quadratic")  # type: ignore[arg-type]  # that it is refused is the test

    @pytest.mark.parametrize("backoff", ["exponential", "linear", "constant"])
    def test_the_ten_thousandth_attempt_has_a_delay(self, backoff) -> None:
        assert Retry(backoff=backoff).delay(10_000) <= timedelta(minutes=5)

    def test_no_base_is_no_delay(self) -> None:
        assert timedelta(0) == Retry(base=0).delay(10_000)

    @given(st.integers(1, 10_000), st.integers(0, 2**32))
    def test_jitter_stays_within_a_tenth_and_below_the_cap(self, attempt: int, seed: int) -> None:
        exact = Retry(jitter=False).delay(attempt)

        delay = Retry().delay(attempt, random.Random(seed))

        assert exact * 0.9 <= delay <= min(exact * 1.1, timedelta(minutes=5))

    def test_jitter_spreads_delays_even_at_the_cap(self) -> None:
        rng = random.Random(1)

        assert len({Retry().delay(9, rng) for _ in range(10)}) == 10

    def test_one_seed_gives_one_delay(self) -> None:
        assert Retry().delay(1, random.Random(7)) == Retry().delay(1, random.Random(7))


class TestWithoutARetryOption:
    @pytest.mark.conformance(131)
    def test_an_exception_of_the_function_is_final(self) -> None:
        assert not DEFAULT_RETRY.is_retryable(normalize(ValueError("boom")))

    @pytest.mark.parametrize(
        "error",
        [
            ConnectionResetError(),
            TimeoutError(),
            MaterializationTimeoutError(timedelta(seconds=1)),
            DependencyNotReadyError(["p.a"]),
            DatabaseError(sqlstate="40001"),
            DatabaseError(sqlstate="55P03"),
            DatabaseError(sqlstate="57014"),
            StorageError("slow down", retryable=True),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_an_error_that_may_pass_is_tried_again(self, error) -> None:
        assert DEFAULT_RETRY.is_retryable(normalize(error))

    def test_there_are_five_attempts(self) -> None:
        assert DEFAULT_RETRY.max_attempts == 5


class TestWithARetryOption:
    def test_whatever_the_function_raised_is_tried_again(self) -> None:
        assert Retry(5).is_retryable(normalize(ValueError("boom")))
        assert Retry(5).is_retryable(ValueError("boom"))

    def test_an_exit_is_no_mishap(self) -> None:
        raised = AssetFunctionError("exits")
        raised.__cause__ = SystemExit(1)

        assert not Retry(5).is_retryable(raised)
        assert not Retry(5).is_retryable(SystemExit(1))

    def test_a_foreign_error_that_a_plugin_converts_is_still_the_functions(self) -> None:
        normalizer = ErrorNormalizer()
        normalizer.register(LookupError, lambda error: DatabaseError("unique", sqlstate="23505"))

        assert Retry(5).is_retryable(normalizer.normalize(KeyError("x")))

    def test_named_exceptions_and_their_subclasses_only(self) -> None:
        retry = Retry(5, on=(LookupError,))

        assert retry.is_retryable(normalize(KeyError("x")))
        assert not retry.is_retryable(normalize(ValueError("x")))
        assert Retry(5, on=ValueError).is_retryable(normalize(ValueError("x")))

    def test_named_exceptions_come_on_top_of_retryable_errors(self) -> None:
        assert Retry(5, on=LookupError).is_retryable(normalize(ConnectionError()))

    def test_an_error_of_ours_can_be_named(self) -> None:
        assert Retry(5, on=StorageError).is_retryable(StorageError("denied"))

    @pytest.mark.parametrize(
        "error",
        [
            UnknownAssetError("x"),
            ValueNotStorableError("is NaN"),
            FlowStoneError("the author says: final"),
            asyncio.CancelledError(),
            KeyboardInterrupt(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_cannot_become_better_is_final(self, error) -> None:
        assert not Retry(5).is_retryable(error)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 2.5},
        {"max_attempts": 10**6},
        {"backoff": "quadratic"},
        {"base": "-1s"},
        {"cap": "soon"},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": "3"},
        {"on": (asyncio.CancelledError,)},
        {"on": "ValueError"},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(options) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        Retry(**options)


def test_equal_policies_are_equal_and_hashable() -> None:
    assert {Retry(3, base="60s")} == {Retry(3, base="1m")}


class TestDiscard:
    def test_what_is_discarded_is_final_whatever_else_is_said(self) -> None:
        retry = Retry(5, on=(LookupError,), discard=KeyError)

        assert retry.is_retryable(normalize(IndexError("boom")))
        assert not retry.is_retryable(normalize(KeyError("boom")))

    def test_also_an_error_that_calls_itself_retryable(self) -> None:
        retry = Retry(5, discard=(MaterializationTimeoutError, ConnectionError))

        assert not retry.is_retryable(MaterializationTimeoutError(timedelta(seconds=1)))
        assert not retry.is_retryable(normalize(ConnectionError("away")))
        assert retry.is_retryable(normalize(OSError("disk")))

    def test_only_exceptions_can_be_discarded(self) -> None:
        with pytest.raises(InvalidOptionError, match="discard=5 must be an exception class"):
            Retry(discard=5)  # type: ignore[arg-type]  # that it is refused is the test
