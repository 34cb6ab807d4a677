"""What every keeper of approvals has to do."""

from flowstone.testing.contracts.checkpoint_contract_crowd import ApprovalCrowdContract
from flowstone.testing.contracts.checkpoint_contract_deciding import DecidingContract
from flowstone.testing.contracts.checkpoint_contract_ending import EndingContract
from flowstone.testing.contracts.checkpoint_contract_telling import TellingContract


class CheckpointCoordinatorContract(
    DecidingContract, EndingContract, TellingContract, ApprovalCrowdContract
):
    """
    Subclass it with the fixture ``app``.

    Each step is done once, however often it is asked for, and the materialization goes on with it.
    """
