"""Assets that run in child processes, which import this module; what they do outside is a file."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flowstone import Cancel, Config, Context, Dep, Pipeline, Requires, Retry, Skip, Snooze
from flowstone.core.asset import Definition
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.outcome import Outcome, Stored, Wake

FOLDER = "IN_PROCESSES_FOLDER"
"""The environment variable that tells a child where its files are."""

work = Pipeline("work")


def say(name: str, text: str = "") -> None:
    """Write a file; who sees it sees all of it."""
    folder = Path(os.environ[FOLDER])
    (folder / f"{name}.part").write_text(text)
    (folder / f"{name}.part").rename(folder / name)


def wait_for(name: str) -> None:
    while not (Path(os.environ[FOLDER]) / name).exists():
        time.sleep(0.005)


def hold_the_gil() -> None:
    """Neither another thread nor a signal's handler gets a word in."""
    sum(range(10**15))


@dataclass(frozen=True)
class Order:
    id: int
    day: date


class ReportConfig(Config):
    least: int = 0


@work.asset
async def orders(ctx: Context[date]) -> list[Order]:
    return [Order(1, ctx.partition), Order(2, ctx.partition)]


@work.asset
async def without_value() -> int | Skip:
    return Skip()


def _report(
    ctx: Context[date], config: ReportConfig, orders: list[Order], missing: int | None
) -> dict[str, object]:
    return {
        "orders": [order for order in orders if order.id > config.least],
        "missing": missing,
        "day": ctx.partition,
        "asset": ctx.asset.rpartition("_")[0],
        "attempt": ctx.attempt,
    }


@work.asset(executor="process")
def report_process(
    ctx: Context[date],
    config: ReportConfig,
    orders: list[Order] = Dep(orders),
    missing: int | None = Dep(without_value, optional=True),
) -> dict[str, object]:
    return _report(ctx, config, orders, missing)


@work.asset(executor="thread")
def report_thread(
    ctx: Context[date],
    config: ReportConfig,
    orders: list[Order] = Dep(orders),
    missing: int | None = Dep(without_value, optional=True),
) -> dict[str, object]:
    return _report(ctx, config, orders, missing)


@work.asset(executor="process")
def pid() -> int:
    return os.getpid()


@work.asset(executor="process", io="kept")
def kept(pid: int = Dep(pid)) -> list[Order]:
    return [Order(pid, date(2024, 1, 1))]


@work.asset(executor="process")
def from_kept(orders: list[Order] = Dep(kept)) -> bool:
    return orders[0] == Order(orders[0].id, date(2024, 1, 1))


class OddError(ValueError):
    """Its constructor wants what pickle does not give it."""

    def __init__(self, number: int, *, text: str) -> None:
        super().__init__(f"{number} {text}")
        self.number = number


class LostError(OSError):
    """Travels as it is."""


def _raise(how: str) -> None:
    try:
        {}["key"]
    except KeyError as error:
        if how == "odd":
            raise OddError(3, text="much") from error
        if how == "local":

            class LocalError(OddError):
                pass

            raise LocalError(4, text="few") from error
        if how == "stop":
            next(iter(()))
        if how == "exit":
            sys.exit(3)
        raise LostError(5, "lost") from None


class RaiseConfig(Config):
    how: str


@work.asset(executor="process", retry=1)
def raises_process(config: RaiseConfig) -> int:
    _raise(config.how)
    return 0


@work.asset(retry=1)
def raises_thread(config: RaiseConfig) -> int:
    _raise(config.how)
    return 0


@work.asset(executor="process", retry=Retry(2, on=OddError, base=0))
def odd_at_first(ctx: Context) -> int:
    if ctx.attempt == 1:
        _raise("local")
    return ctx.attempt


class DieConfig(Config):
    how: str


@work.asset(executor="process", retry=1)
def dies(config: DieConfig) -> int:
    if config.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.how == "abort":
        os.abort()
    os._exit(3)


@work.asset(executor="process")
def dies_at_first(ctx: Context) -> int:
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


@work.asset(executor="process")
def held(ctx: Context) -> int:
    say(f"held-{ctx.run_id}", str(os.getpid()))
    wait_for("gate")
    return os.getpid()


@work.asset(executor="process", retry=1)
def for_ever() -> None:
    say("for_ever", str(os.getpid()))
    hold_the_gil()


@work.asset(executor="process", retry=1, timeout="250ms", priority=1)
def too_long() -> None:
    hold_the_gil()


@work.asset
async def beside() -> str:
    return "beside"


@work.asset(executor="process", retry=1)
def starts_another() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say("starts_another", str(other.pid))
    other.wait()


class ForkConfig(Config):
    leaves: bool


@work.asset(executor="process", retry=1)
def dies_before_its_fork(config: ForkConfig) -> None:
    fork = os.fork()
    if not fork:
        if config.leaves:
            os.setsid()
            say("left")
        time.sleep(600)
    if config.leaves:
        wait_for("left")
    say("dies_before_its_fork", str(fork))
    os.kill(os.getpid(), signal.SIGKILL)


LARGE = 12 * 1024 * 1024


@work.asset
async def large() -> str:
    return "x" * LARGE


@work.asset(executor="process")
def larger(large: str = Dep(large)) -> str:
    return large + "y"


@work.asset(executor="process", retry=1)
def too_large(large: str = Dep(large)) -> str:
    return large + large


class OutcomeConfig(Config):
    what: str


@work.asset(executor="process")
def outcome(config: OutcomeConfig, ctx: Context) -> int | Skip | Snooze | Cancel:
    match config.what:
        case "skip":
            return Skip("nothing\0 new")
        case "cancel":
            return Cancel("given up")
    return Snooze("1h")


@work.asset(executor="process")
def noisy(ctx: Context) -> None:
    print("printed in the child")
    ctx.log.info("%s is %s", "this", Path("logged"), extra={"where": Path("child")})
    logging.getLogger("quiet").info("not this")
    try:
        raise ValueError("told")
    except ValueError:
        logging.getLogger("loud").exception("with its traceback")


class Shop:
    """A resource."""


@work.asset(executor="process", retry=1)
def wants_resource(ctx: Context) -> None:
    ctx.resource(Shop)


@work.asset(executor="process")
def sockets() -> int:
    """Count what the child has open that is a socket."""
    return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())


@work.asset(executor="process")
def signalled() -> bool:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    return True


@work.asset(executor="process")
def coded() -> list[int]:
    return [1]


@work.asset(executor="process", retry=1)
def not_storable() -> object:
    return {"here": [object()]}


class Tagging(JsonCodec):
    """Says in the text who has encoded it."""

    def __init__(self, tag: str) -> None:
        super().__init__()
        self.tag = tag

    def encode(self, value: object, *, max_bytes: int | None = None) -> str:
        return super().encode({"by": f"{self.tag} {os.getpid()}", "is": value})

    def decode(self, text: str, annotation: object = object) -> object:
        plain = super().decode(text)
        assert isinstance(plain, dict)
        return super().decode(super().encode(plain["is"]), annotation)


class Doubling(Strategy):
    """Calls the function with a number of its own, and stores twice what it gives."""

    async def start(self, execution: Execution) -> Outcome:
        order = await execution.call(given=Order(7, date(2024, 1, 1)))
        assert isinstance(order, Order)
        return Stored(order.id * 2)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        return await self.start(execution)


def _doubled(given: Order, pid: int = Dep(pid)) -> Order:
    return Order(given.id + (pid == os.getpid()), given.day)


doubled = work.asset(executor="process")(
    Definition(_doubled, strategy=Doubling(), supplied=["given"], value_type=int)
)

refused = Pipeline("refused")


@refused.asset(executor="process")
def with_resource(shop: Shop = Requires(Shop)) -> None: ...


@refused.asset(executor="process")
async def asynchronous() -> None: ...


@refused.asset(executor="procces")  # type: ignore[call-overload]
def misspelled() -> None: ...


def other() -> None: ...


by_another_name = refused.asset(executor="process", name="by_another_name")(other)

alone = Pipeline("alone")


@alone.asset(executor="process")
def one() -> int:
    return 1


class Holder:
    @refused.asset(executor="process", name="in_class")
    @staticmethod
    def in_class() -> None: ...


refused.asset(executor="process", name="lambda_")(lambda: None)


def make() -> None:
    @refused.asset(executor="process")
    def nested() -> None: ...


make()
