"""The workers: real processes of ``flowstone worker``, killed, paused, stopped and replaced."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos.app import PROBE_QUEUE
from tests.chaos.children import CHILDREN_QUEUE
from tests.chaos.jobs import JOBS_QUEUE
from tests.chaos.journal import Journal
from tests.chaos.limited import NARROW_QUEUE, PACED_QUEUE
from tests.chaos.scattered import ITEMS_QUEUE

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 2.0
SHUTDOWN_SECONDS = 2.0
SLOTS = (
    f"default:6,{PROBE_QUEUE}:4,{CHILDREN_QUEUE}:2,{JOBS_QUEUE}:6,{NARROW_QUEUE}:4,{PACED_QUEUE}:4,"
    f"{ITEMS_QUEUE}:4"
)
STOP_SECONDS = SHUTDOWN_SECONDS + 60.0
"""How long a worker that was asked to stop may take, the database being away or not."""


class Member:
    """One process in one of the crew's places."""

    def __init__(self, process: asyncio.subprocess.Process, place: int, log: Path) -> None:
        self.process = process
        self.place = place
        self.log = log
        self.is_expected_to_end = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        if not self.has_ended:
            os.kill(self.pid, number)


class Crew:
    """
    So many workers, each in a place of its own; whoever ends a member puts another in its place.

    Args:
        dsns: The database as each place sees it.
        environment: Of all of them.
    """

    def __init__(
        self, dsns: list[str], environment: Mapping[str, str], folder: Path, journal: Journal
    ) -> None:
        self._dsns = dsns
        self._environment = environment
        self._folder = folder
        self._journal = journal
        self._started = 0
        self._watches: set[asyncio.Task[None]] = set()
        self._is_over = False
        self.members: dict[int, Member] = {}

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator["Crew"]:
        try:
            for place in range(len(self._dsns)):
                await self.start(place)
            yield self
        finally:
            self._is_over = True
            for member in self.members.values():
                member.is_expected_to_end = True
                member.send(signal.SIGKILL)
            await asyncio.gather(*self._watches, return_exceptions=True)

    def take(self, chance: random.Random) -> Member | None:
        """Take somebody out, for the caller to do with as it likes; None when all are taken."""
        if not self.members:
            return None
        return self.members.pop(chance.choice(sorted(self.members)))

    def put_back(self, member: Member) -> None:
        """Put somebody back who was taken, and is well."""
        self.members[member.place] = member

    async def start(self, place: int, environment: Mapping[str, str] | None = None) -> Member:
        """Start a worker in a place."""
        self._started += 1
        log = self._folder / f"worker-{self._started:03}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-X", "faulthandler", "-m", "flowstone"),
                *("--app", "tests.chaos.app:app", "worker", "--supervised"),
                *("--queues", SLOTS, "--child-processes", "1", "--lease", f"{LEASE_SECONDS}s"),
                *("--shutdown-timeout", f"{SHUTDOWN_SECONDS}s"),
                cwd=ROOT,
                env={
                    **os.environ,
                    **self._environment,
                    **(environment or {}),
                    "FLOWSTONE_DSN": self._dsns[place],
                },
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        member = self.members[place] = Member(process, place, log)
        self._journal.note("worker", f"{member.pid} in place {place}, {log.name}")
        watch = asyncio.create_task(self._watch(member))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return member

    async def kill(self, member: Member) -> None:
        """End it as a power cut would."""
        member.is_expected_to_end = True
        member.send(signal.SIGKILL)
        await member.process.wait()

    async def stop(self, member: Member) -> None:
        """Ask it to stop; that it does so late, or not well, is a complaint."""
        member.is_expected_to_end = True
        member.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await member.process.wait()
        except TimeoutError:
            self._journal.complain(
                "a worker does not stop", f"{member.log.name}, after {STOP_SECONDS:g} s"
            )
            member.send(signal.SIGABRT)  # faulthandler writes down where it is
            await asyncio.sleep(1)
            await self.kill(member)
        else:
            # One that has not even begun to serve is ended by the signal itself.
            if code != 0 and b" serves " in member.log.read_bytes():
                self._journal.complain(
                    "a worker did not stop well", f"{member.log.name}: exit code {code}"
                )

    async def stop_all(self) -> None:
        """Ask all to stop, one after the other is gone: the last has nobody to take over from."""
        self._is_over = True
        await asyncio.gather(*(self.stop(it) for it in self.members.values()))

    async def _watch(self, member: Member) -> None:
        code = await member.process.wait()
        if member.is_expected_to_end:
            return
        self._journal.complain("a worker ended by itself", f"{member.log.name}: exit code {code}")
        if not self._is_over:
            await asyncio.sleep(1)
            await self.start(member.place)
