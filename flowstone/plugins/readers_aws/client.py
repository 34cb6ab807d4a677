"""A client of one AWS service, opened when reading begins and closed when it ends."""

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from flowstone.core.errors import FlowStoneError, MissingExtraError, StorageError

PASSES = {
    "InternalError",
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}
"""Codes of what may be otherwise at the next attempt, beside every answer of the 500s."""


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """
    How a service is reached; what is not given comes from the environment, as in all AWS tools.

    Attributes:
        endpoint_url: Another server than AWS's own, such as MinIO's.
    """

    region_name: str | None = None
    endpoint_url: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_session_token: str | None = None

    @property
    def client_arguments(self) -> Mapping[str, str]:
        """What `create_client` takes of them."""
        given = {name: getattr(self, name) for name in ClientOptions.__dataclass_fields__}
        return {name: value for name, value in given.items() if value is not None}


class Client:
    """One open client."""

    # Any: what a client can do is made from the service's description at run time.
    def __init__(self, made: Any, closing: AsyncExitStack) -> None:
        self._made = made
        self._closing = closing

    async def call(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        """
        Call an operation.

        Raises:
            StorageError: The service refused it or did not answer; the latter is retryable.
        """
        with service_errors():
            answer: Mapping[str, Any] = await getattr(self._made, operation)(**arguments)
            return answer

    async def close(self) -> None:
        """Close its connections."""
        await self._closing.aclose()


async def open_client(service: str, options: ClientOptions, *, reader: str) -> Client:
    """
    Open a client.

    Args:
        reader: Who needs it, for the message.

    Raises:
        MissingExtraError: aiobotocore is not installed.
        StorageError: The options or the environment are not enough, for one without a region.
    """
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
    except ModuleNotFoundError as error:
        raise MissingExtraError(reader, "aws") from error
    closing = AsyncExitStack()
    config = AioConfig(retries={"mode": "standard"})
    session = get_session()
    session.register_component("data_loader", _descriptions())
    with service_errors():
        opening = session.create_client(service, config=config, **options.client_arguments)
        made = await closing.enter_async_context(opening)
    return Client(made, closing)


@cache
def _descriptions() -> object:
    """Return what reads the descriptions of services, each once: 0.1 s of computing."""
    from aiobotocore.session import get_session

    return get_session().get_component("data_loader")


@contextmanager
def service_errors() -> Iterator[None]:
    """Let what botocore raises inside leave as `StorageError`."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passes = status >= 500 or answer.get("Error", {}).get("Code") in PASSES
        raise _failure(error, retryable=passes) from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise _failure(error, retryable=True) from error
    except exceptions.BotoCoreError as error:
        raise _failure(error, retryable=False) from error


def _failure(error: Exception, *, retryable: bool) -> FlowStoneError:
    return StorageError(str(error), retryable=retryable)
