"""What every part of the store's contract suite needs from the store that is tested."""

from datetime import timedelta

import pytest

from flowstone.core.contracts.store import Store


class StoreSuite:
    """The two things that a subclass provides."""

    @pytest.fixture
    async def store(self) -> Store:
        """Give an open and empty store, and close it afterwards."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `store`")

    async def advance(self, store: Store, delta: timedelta) -> None:
        """
        Let time pass in the store.

        Afterwards whatever was due within ``delta`` is due, and workers have not beaten for it. Set
        the store's clock forward, or shift every instant that it has stored into the past.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define `advance`")
