"""
What every store has to do, as tests.

Who writes a store runs them over it, with pytest and pytest-asyncio (``asyncio_mode = "auto"``)::

    from flowstone.testing.contracts.store_contract import StoreContract

    class TestRedisStore(StoreContract):
        @pytest.fixture
        async def store(self):
            store = RedisStore(...)
            await store.open()
            yield store
            await store.close()

        async def advance(self, store, delta):
            await store.shift_clock(delta)

The fixture gives every test an empty store. Nothing but the contract is called, so what a store
does inside is its own affair; rows are compared as `Store.materializations` and the like give them.
The last two parts let workers race, and play random runs with random accidents: `store_race.race`
and `store_scenario.play`, which a test of one's own can call with more of them.
"""

from flowstone.testing.contracts.store_contract_activity import ActivityContract
from flowstone.testing.contracts.store_contract_assistants import AssistantsContract
from flowstone.testing.contracts.store_contract_awaiting import AwaitingContract, HeldContract
from flowstone.testing.contracts.store_contract_claims import (
    ClaimsContract,
    NextDueContract,
    RunScopedClaimsContract,
)
from flowstone.testing.contracts.store_contract_external import ExternalValuesContract
from flowstone.testing.contracts.store_contract_fence import (
    FenceContract,
    LateWorkerContract,
    OwnershipContract,
)
from flowstone.testing.contracts.store_contract_giving_up import (
    GivingUpContract,
    ToleratedContract,
)
from flowstone.testing.contracts.store_contract_job_changes import JobChangesContract
from flowstone.testing.contracts.store_contract_jobs import JobsContract
from flowstone.testing.contracts.store_contract_keys import KeysContract
from flowstone.testing.contracts.store_contract_leases import LeaseContract
from flowstone.testing.contracts.store_contract_limits import LimitsContract
from flowstone.testing.contracts.store_contract_planning import PlanningContract
from flowstone.testing.contracts.store_contract_propagation import (
    EndWithoutValueContract,
    MixedEndsContract,
    RunEndContract,
)
from flowstone.testing.contracts.store_contract_pruned_jobs import PruningJobsContract
from flowstone.testing.contracts.store_contract_pruned_lineage import PruningLineageContract
from flowstone.testing.contracts.store_contract_pruning import (
    PruningRunsContract,
    PruningValuesContract,
)
from flowstone.testing.contracts.store_contract_queues import QueuesContract
from flowstone.testing.contracts.store_contract_reading import (
    OutputsContract,
    ProgressContract,
    ReadingContract,
    WakeupsContract,
)
from flowstone.testing.contracts.store_contract_rescuing import RescueContract
from flowstone.testing.contracts.store_contract_resuming import (
    DeadlineContract,
    LostResumeContract,
)
from flowstone.testing.contracts.store_contract_schedules import SchedulesContract
from flowstone.testing.contracts.store_contract_settling import (
    RepetitionContract,
    SuccessContract,
)
from flowstone.testing.contracts.store_contract_stopping import (
    CancelRunContract,
    UnregisterContract,
)
from flowstone.testing.contracts.store_contract_ticks import TicksContract
from flowstone.testing.contracts.store_contract_transitions import TransitionsContract
from flowstone.testing.contracts.store_contract_unique import UniqueJobsContract
from flowstone.testing.contracts.store_contract_values import (
    CurrentContract,
    InvalidateContract,
    LineageContract,
)
from flowstone.testing.contracts.store_contract_waiting import (
    EarlyWakeUpContract,
    WaitingContract,
)
from flowstone.testing.contracts.store_pruning_scenario import PruningScenarioContract
from flowstone.testing.contracts.store_race import RaceContract
from flowstone.testing.contracts.store_scenario import ScenarioContract


class StoreContract(
    PlanningContract,
    ClaimsContract,
    RunScopedClaimsContract,
    NextDueContract,
    SuccessContract,
    RepetitionContract,
    EndWithoutValueContract,
    MixedEndsContract,
    RunEndContract,
    TransitionsContract,
    FenceContract,
    LateWorkerContract,
    OwnershipContract,
    WaitingContract,
    EarlyWakeUpContract,
    DeadlineContract,
    LostResumeContract,
    HeldContract,
    AwaitingContract,
    GivingUpContract,
    ToleratedContract,
    AssistantsContract,
    CancelRunContract,
    RescueContract,
    UnregisterContract,
    LeaseContract,
    PruningRunsContract,
    PruningValuesContract,
    PruningLineageContract,
    PruningJobsContract,
    CurrentContract,
    InvalidateContract,
    LineageContract,
    ExternalValuesContract,
    ReadingContract,
    ProgressContract,
    OutputsContract,
    WakeupsContract,
    JobsContract,
    LimitsContract,
    JobChangesContract,
    SchedulesContract,
    TicksContract,
    UniqueJobsContract,
    QueuesContract,
    ActivityContract,
    KeysContract,
    RaceContract,
    ScenarioContract,
    PruningScenarioContract,
):
    """All of it; one class of tests for each thing that a store does."""
