"""
A task elsewhere that calls back over HTTP when it is done, and an asset that waits for it.

The cluster is a thread with an ordinary HTTP client; the server is uvicorn, on loopback. In memory:
with a database the worker and the server would be other processes than this one.

    python examples/ecs_callback.py

prints::

    cluster: started for 2 papers
    run 1 waits: papers.embeddings for signal
    cluster: forged call answered 403
    cluster: call without vectors answered 422
    cluster: call answered 202
    cluster: call answered 202
    embeddings: {'On gates': [1, 2], 'On signals': [3, 4]}
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection

import uvicorn

from flowstone import Dep, FlowStone, Pipeline, Requires, RunWaiting
from flowstone.core.contracts.resource import Resource
from flowstone.plugins.signal_gate import Callback, SignalGates, Wait, signal_gate, signals_app

papers = Pipeline("papers")


class Cluster:
    """Runs tasks somewhere else, and has nothing but a URL to say that one is done."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self, count: int, url: str) -> None:
        """Start a task."""
        print(f"cluster: started for {count} papers")
        self.threads.append(threading.Thread(target=self._work, args=(count, url)))
        self.threads[-1].start()

    def _work(self, count: int, url: str) -> None:
        self.may_end.wait()
        done = {"vectors": [[2 * it + 1, 2 * it + 2] for it in range(count)]}
        print(f"cluster: forged call answered {call(url[:-1], done)}")
        print(f"cluster: call without vectors answered {call(url, {})}")
        for _ in range(2):  # the answer to the first one may have been lost
            print(f"cluster: call answered {call(url, done)}")


def call(url: str, payload: Mapping[str, object]) -> int:
    """POST JSON and return the status."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=10)
    connection.request("POST", f"/{path}", json.dumps(payload))
    status = connection.getresponse().status
    connection.close()
    return status


class ClusterResource(Resource[Cluster]):
    """One cluster for the process."""

    async def setup(self, config: Mapping[str, object]) -> Cluster:
        """Nothing has to be connected."""
        return Cluster()


@dataclass(frozen=True)
class Done:
    """What the task says when it is done."""

    vectors: list[list[int]]


@papers.asset
async def titles() -> list[str]:
    """What there is to embed."""
    return ["On gates", "On signals"]


async def on_done(payload: Done, titles: list[str] = Dep(titles)) -> dict[str, list[int]]:
    """Make the value of what the task has sent."""
    return dict(zip(titles, payload.vectors, strict=True))


@papers.asset
@signal_gate(on_signal=on_done, timeout="1h")
async def embeddings(
    callback: Callback, titles: list[str] = Dep(titles), cluster: Cluster = Requires(Cluster)
) -> Wait:
    """Let the cluster compute; it calls back."""
    cluster.start(len(titles), callback.url)
    return Wait(callback.token)


@asynccontextmanager
async def serving(app: FlowStone, listening: socket.socket) -> AsyncIterator[None]:
    """Serve the application's signals."""
    config = uvicorn.Config(signals_app(app), log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    yield
    server.should_exit = True
    await task


async def main() -> None:
    """Run the whole story."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    gates = SignalGates(
        secrets=["an example's secret, which has 32 bytes"], base_url=f"http://127.0.0.1:{port}"
    )
    app = FlowStone(papers, resources={Cluster: ClusterResource}, plugins=[gates])
    async with app, serving(app, listening):
        try:
            await app.run(embeddings)
        except RunWaiting as waiting:
            print(str(waiting).partition(" (")[0])
            cluster = app.resources.get(Cluster)
            cluster.may_end.set()
            await asyncio.to_thread(cluster.threads[0].join)
            value = await app.finish(app.handle(waiting.run_id))
            print(f"embeddings: {value}")


asyncio.run(main())
