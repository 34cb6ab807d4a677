"""What an exception is after it has crossed the border between two processes."""

import json
import pickle
from collections.abc import Iterator

import pytest

from flowstone.core.error_record import describe
from flowstone.core.errors import FlowStoneError, NotStoredError, StorageError
from flowstone.core.processes.carried_error import dump, load


class WithState(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status

    def __reduce__(self) -> tuple[type["WithState"], tuple[int]]:
        return WithState, (self.status,)


class Demanding(LookupError):
    def __init__(self, *, name: str) -> None:
        super().__init__(name)


class Unpicklable(StorageError):
    code = "unpicklable"
    retryable = True

    def __reduce__(self) -> tuple[object, ...]:
        raise pickle.PicklingError("no")


class LosingItsMessage(Exception):
    def __init__(self, number: int = 0) -> None:
        self.number = number
        super().__init__()

    def __str__(self) -> str:
        return f"number {self.number}"

    def __reduce__(self) -> tuple[type["LosingItsMessage"], tuple[()]]:
        return LosingItsMessage, ()


def carried(error: BaseException) -> BaseException:
    """Raise it, and take it through JSON."""
    try:
        raise error
    except BaseException as raised:
        return load(json.loads(json.dumps(dump(raised))), pid=7)


def local() -> Exception:
    class Local(Demanding):
        pass

    return Local(name="here")


def test_class_and_state_are_what_they_were() -> None:
    error = carried(WithState(404))

    assert type(error) is WithState
    assert error.status == 404


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Demanding(name="x"), Demanding),
        (local(), Demanding),
        (Unpicklable("gone"), Unpicklable),
        (LosingItsMessage(3), LosingItsMessage),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError),
        (ExceptionGroup("several", [ValueError(1)]), ExceptionGroup),
        (SystemExit(3), SystemExit),
    ],
)
def test_its_record_is_that_of_the_original(
    error: BaseException, kind: type[BaseException]
) -> None:
    arrived = carried(error)

    assert describe(arrived, with_traceback=False) == describe(error, with_traceback=False)
    assert isinstance(arrived, kind)


def test_what_it_was_raised_from_comes_along() -> None:
    def chained() -> Iterator[BaseException]:
        try:
            raise NotStoredError("first")
        except NotStoredError as first:
            try:
                raise local() from first
            except LookupError as second:
                yield second

    (error,) = chained()
    arrived = carried(error)

    assert type(arrived.__cause__) is NotStoredError
    assert describe(arrived, with_traceback=False) == describe(error, with_traceback=False)


def test_its_traceback_is_a_note() -> None:
    (note,) = carried(WithState(1)).__notes__

    assert note.startswith("in child process 7:\nTraceback")
    assert "raise error" in note


def test_an_interrupt_does_not_interrupt_who_is_told() -> None:
    arrived = carried(KeyboardInterrupt("stop"))

    assert not isinstance(arrived, KeyboardInterrupt | Exception)
    assert describe(arrived)["type"] == "KeyboardInterrupt"


def test_a_foreign_constructor_is_not_called() -> None:
    error = carried(Unpicklable("gone"))

    assert isinstance(error, FlowStoneError)
    assert (error.retryable, error.context) == (True, {})
