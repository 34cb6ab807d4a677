"""What a fault may lay its hands on."""

from dataclasses import dataclass
from pathlib import Path

from tests.chaos.crew import Crew
from tests.chaos.journal import Journal
from tests.chaos.proxy import BadNetwork
from tests.chaos.server import Server


@dataclass(frozen=True, slots=True)
class World:
    """
    Attributes:
        network: What some workers and some clients reach the server by.
        clock: The library that makes a process's clock wrong, if there is one.
    """

    server: Server
    network: BadNetwork
    crew: Crew
    journal: Journal
    clock: Path | None
