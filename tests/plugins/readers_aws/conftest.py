"""A server that plays AWS, over HTTP on this machine."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

Aws = dict[str, Any]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the server."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="session")
def aws(server: str) -> Aws:
    """How the server is reached."""
    return {
        "endpoint_url": server,
        "region_name": "eu-central-1",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }
