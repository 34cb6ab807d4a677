"""Every error has its exit code."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from flowstone.cli.exit_codes import ExitCode, exit_code_of
from flowstone.core import errors
from flowstone.plugins.scatter.errors import BarrierNotFoundError
from flowstone.plugins.signal_gate.errors import GateNotFoundError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownAssetError("a"), 2),
        (errors.DependencyCycleError(["a", "b", "a"]), 2),
        (errors.InvalidPartitionError("no"), 2),
        (errors.InvalidOptionError("no"), 2),
        (errors.RunNotFoundError(7), 2),
        (errors.JobNotFoundError(7), 2),
        (BarrierNotFoundError(7), 2),
        (GateNotFoundError("task 7"), 2),
        (errors.NotRegisteredError("IO manager", "lake"), 2),
        (errors.NotRegisteredError("plugin", "mysql"), 3),
        (errors.PluginError("no"), 3),
        (errors.MissingExtraError("p", "e"), 3),
        (errors.DatabaseUnreachableError(), 3),
        (errors.SchemaVersionError("no"), 3),
        (errors.SchemaFingerprintError("no"), 3),
        (errors.DatabaseError("no"), 3),
        (errors.HandleTimeoutError(7, timedelta(1)), 4),
        (errors.RunWaiting(7), 4),
        (errors.RunFailedError(7), 1),
        (errors.RunCancelledError(7), 1),
        (errors.NotStoredError("no"), 1),
        (errors.DependencyNotReadyError(["a"]), 1),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, Exception) else str(it),
)
def test_an_error_ends_a_command_with(error: errors.FlowStoneError, code: int) -> None:
    assert exit_code_of(error) == code


def test_whatever_the_database_does_is_the_environments() -> None:
    def kinds(of: type[errors.FlowStoneError]) -> Iterator[type[errors.FlowStoneError]]:
        yield of
        for kind in of.__subclasses__():
            yield from kinds(kind)

    codes = {exit_code_of(kind.__new__(kind)) for kind in kinds(errors.DatabaseError)}

    assert codes == {ExitCode.ENVIRONMENT}
