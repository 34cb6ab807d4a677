"""The plugin of pytest, as a user's tests have it, on the server that this session has already."""

import pytest


@pytest.fixture(scope="session")
def flowstone_server_dsn(server_dsn: str) -> str:
    """The server of this session's other tests."""
    return server_dsn


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chosen = getattr(item, "callspec", None)
        if chosen is not None and chosen.params.get("flowstone_store") == "postgres":
            item.add_marker(pytest.mark.postgres)
