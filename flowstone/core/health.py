"""
Whether an application works, and what mends it: findings from its database, its resources, its
background services and its plugins.

Nothing here raises: what cannot be asked, or does not answer in time, is a finding too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from flowstone.core.contracts.health import Finding, Level
from flowstone.core.contracts.resource import Health
from flowstone.core.errors import reason_text

ANSWER_SECONDS = 10.0
"""What has not answered a question after its health by then is not well."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """All that was looked at, in a fixed order."""

    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing fails; warnings do not count."""
        return all(it.level is not Level.FAIL for it in self.findings)

    @property
    def problems(self) -> Sequence[Finding]:
        """What fails, and what is a warning."""
        return [it for it in self.findings if it.level is not Level.OK]


async def answer_to(ask: Callable[[], Awaitable[Health]]) -> Health:
    """Return what something says of its own health; silence and errors are unhealthy."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await ask()
    except TimeoutError:
        return Health.unhealthy(f"no answer in {ANSWER_SECONDS:g} seconds")
    except Exception as error:
        return Health.unhealthy(reason_text(error))


def finding_of(check: str, health: Health) -> Finding:
    """Return what something said of itself as a finding."""
    if health.is_healthy:
        return Finding(check, Level.OK, "healthy")
    return Finding(check, Level.FAIL, health.reason or "unhealthy")
