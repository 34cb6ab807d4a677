"""
What a command ends with.

====  ==========================================================================================
0     done; everything that was asked for succeeded. A worker that was asked to stop and did
1     the command worked, and an asset failed or was cancelled; or there is no such value. A worker
      in which one held the event loop for longer than --hang-limit
2     usage or definition: a wrong option, an unknown asset, a cycle, a run, job, schedule, gate …
      that does not exist
3     environment: the database is unreachable or not migrated, a plugin or an extra is missing
4     the run or job has not ended and goes on: ``--wait`` ran out of time, or only an outside event
      can move it; or a queue is not drained
75    only between --processes and its supervisor: the process has done enough (--max-jobs,
      --max-memory), and another is to begin
130   interrupted (Ctrl-C); for a worker, only when the second one cut short what ran, or when a
      body did not let itself be cancelled
143   terminated (SIGTERM); for a worker likewise
====  ==========================================================================================
"""

from enum import IntEnum

from flowstone.core.errors import (
    AlreadyRegisteredError,
    DatabaseError,
    DefinitionError,
    FlowStoneError,
    HandleTimeoutError,
    JobNotEndedError,
    NotRegisteredError,
    PluginError,
    QueueNotDrainedError,
    RegistrationError,
    ResourceUnavailableError,
    RunWaiting,
    ScheduleError,
)


class ExitCode(IntEnum):
    """The codes; see the module for what they mean."""

    OK = 0
    FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    NOT_ENDED = 4
    RECYCLED = 75
    INTERRUPTED = 130
    TERMINATED = 143


class Terminated(BaseException):
    """SIGTERM arrived; as `KeyboardInterrupt` is for Ctrl-C."""


_CODES: tuple[tuple[tuple[type[FlowStoneError], ...], ExitCode], ...] = (
    ((HandleTimeoutError, JobNotEndedError, QueueNotDrainedError, RunWaiting), ExitCode.NOT_ENDED),
    ((ScheduleError,), ExitCode.USAGE),
    ((PluginError,), ExitCode.ENVIRONMENT),
    ((NotRegisteredError, AlreadyRegisteredError, DefinitionError), ExitCode.USAGE),
    ((DatabaseError, RegistrationError, ResourceUnavailableError), ExitCode.ENVIRONMENT),
)


def exit_code_of(error: FlowStoneError) -> ExitCode:
    """Return what a command ends with that raised this error."""
    if isinstance(error, NotRegisteredError) and error.registry == "plugin":
        return ExitCode.ENVIRONMENT
    if error.code.endswith("not_found"):  # plugins have such errors of their own
        return ExitCode.USAGE
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return code
    return ExitCode.FAILED
