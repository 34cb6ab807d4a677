"""
Every error that FlowStone raises.

::

    FlowStoneError                      code, retryable, context
    ├─ DefinitionError                  what was written is wrong; raised before anything runs
    │  ├─ DuplicateAssetError  UnknownAssetError  UnknownJobError  UnknownLimitError
    │  │                                (did you mean …?)
    │  ├─ DependencyCycleError
    │  └─ InvalidPartitionError  InvalidOptionError  JobArgumentsError
    ├─ ValidationFailedError            data did not have the declared shape
    ├─ RegistrationError
    │  ├─ NotRegisteredError (did you mean …?)  AlreadyRegisteredError
    │  └─ PluginError: IncompatiblePluginError  MissingExtraError
    ├─ MaterializationError             one asset's materialization failed
    │  ├─ AssetFunctionError            the author's code raised; see __cause__
    │  │  └─ JobFunctionError
    │  ├─ DependencyFailedError  DependencyNotReadyError (retryable)
    │  ├─ MaterializationTimeoutError (retryable)
    │  └─ ProcessDiedError (retryable)  a child process was killed, or exited
    ├─ StorageError                     an IO manager or the codec failed
    │  ├─ NotStoredError
    │  └─ ValueNotStorableError  ValueNotReadableError
    ├─ ReaderError                      an item reader failed; retryable as its cause is
    ├─ LimitTimeoutError (retryable)    ctx.limit(…) was not to be had in time
    ├─ ResourceUnavailableError (retryable)
    ├─ JobError                         what became of a job, told to the one who waits for it
    │  ├─ JobFailedError  JobCancelledError  JobNotFoundError
    │  ├─ JobExistsError                one that is the same is there already
    │  └─ JobNotEndedError              the job goes on
    ├─ ScheduleError: ScheduleNotFoundError (did you mean …?)  ScheduleInCodeError
    ├─ QueueNotDrainedError             its work goes on
    ├─ RunError                         what became of a run, told to the one who waits for it
    │  ├─ RunFailedError  RunCancelledError  RunNotFoundError
    │  ├─ HandleTimeoutError            the run goes on
    │  └─ RunWaiting                    not a failure: only an outside event can move the run
    ├─ IllegalTransitionError
    ├─ NotOpenError                     used before ``async with app``
    ├─ TransactionError                 of ``ctx.transaction()``: not here, or not any more
    └─ DatabaseError                    retryable for SQLSTATE 08, 40, 53, 57P; see may_pass
       ├─ DatabaseUnreachableError (retryable)
       └─ SchemaError: SchemaVersionError  SchemaFingerprintError

``code`` is a stable word that rows and telemetry keep; the facts are attributes, and the message is
built from them. Errors survive pickling and copying with their attributes, without ``__cause__``.
"""

from flowstone.core.errors.database import (
    DatabaseError,
    DatabaseUnreachableError,
    NotOpenError,
    SchemaError,
    SchemaFingerprintError,
    SchemaVersionError,
    TransactionError,
)
from flowstone.core.errors.definition import (
    DefinitionError,
    DependencyCycleError,
    DuplicateAssetError,
    InvalidOptionError,
    InvalidPartitionError,
    Problem,
    UnknownAssetError,
)
from flowstone.core.errors.job import (
    JobArgumentsError,
    JobCancelledError,
    JobError,
    JobExistsError,
    JobFailedError,
    JobNotEndedError,
    JobNotFoundError,
    UnknownJobError,
)
from flowstone.core.errors.limit import LimitTimeoutError, UnknownLimitError
from flowstone.core.errors.queue import QueueNotDrainedError
from flowstone.core.errors.registration import (
    AlreadyRegisteredError,
    IncompatiblePluginError,
    MissingExtraError,
    NotRegisteredError,
    PluginError,
    RegistrationError,
)
from flowstone.core.errors.root import (
    FlowStoneError,
    reason_text,
)
from flowstone.core.errors.run import (
    FailedMaterialization,
    HandleTimeoutError,
    OpenWait,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunWaiting,
)
from flowstone.core.errors.schedule import (
    ScheduleError,
    ScheduleInCodeError,
    ScheduleNotFoundError,
)
from flowstone.core.errors.work import (
    AssetFunctionError,
    DependencyFailedError,
    DependencyNotReadyError,
    IllegalTransitionError,
    JobFunctionError,
    MaterializationError,
    MaterializationTimeoutError,
    NotStoredError,
    ProcessDiedError,
    ReaderError,
    ResourceUnavailableError,
    StorageError,
    ValidationFailedError,
    ValueNotReadableError,
    ValueNotStorableError,
)

__all__ = [
    "AlreadyRegisteredError",
    "AssetFunctionError",
    "DatabaseError",
    "DatabaseUnreachableError",
    "DefinitionError",
    "DependencyCycleError",
    "DependencyFailedError",
    "DependencyNotReadyError",
    "DuplicateAssetError",
    "FailedMaterialization",
    "FlowStoneError",
    "HandleTimeoutError",
    "IllegalTransitionError",
    "IncompatiblePluginError",
    "InvalidOptionError",
    "InvalidPartitionError",
    "JobArgumentsError",
    "JobCancelledError",
    "JobError",
    "JobExistsError",
    "JobFailedError",
    "JobFunctionError",
    "JobNotEndedError",
    "JobNotFoundError",
    "LimitTimeoutError",
    "MaterializationError",
    "MaterializationTimeoutError",
    "MissingExtraError",
    "NotOpenError",
    "NotRegisteredError",
    "NotStoredError",
    "OpenWait",
    "PluginError",
    "Problem",
    "ProcessDiedError",
    "QueueNotDrainedError",
    "ReaderError",
    "RegistrationError",
    "ResourceUnavailableError",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunNotFoundError",
    "RunWaiting",
    "ScheduleError",
    "ScheduleInCodeError",
    "ScheduleNotFoundError",
    "SchemaError",
    "SchemaFingerprintError",
    "SchemaVersionError",
    "StorageError",
    "TransactionError",
    "UnknownAssetError",
    "UnknownJobError",
    "UnknownLimitError",
    "ValidationFailedError",
    "ValueNotReadableError",
    "ValueNotStorableError",
    "reason_text",
]
