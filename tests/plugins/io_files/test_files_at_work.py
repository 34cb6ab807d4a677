"""Assets whose values are files: what their authors and operators see."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flowstone import Dep, Pipeline, RunFailedError
from flowstone.core.errors import NotStoredError, ValueNotReadableError
from flowstone.plugins.io_files import FilesIO, whole_file
from flowstone.plugins.io_files.plugin import FilesPlugin
from tests.application.conftest import AppOf
from tests.application.stage import Stage, drain, steps


def pipeline(**options: Any) -> Pipeline:
    p = Pipeline("p")

    @p.asset(**options)
    async def base() -> list[int]:
        return [1, 2]

    @p.asset
    async def total(base: list[int] = Dep(base)) -> int:
        return sum(base)

    return p


def the_file(root: Path) -> Path:
    (file,) = root.rglob("[0-9]*.json")
    return file


async def test_a_value_goes_to_a_file_and_its_reader_gets_it_from_there(
    app_of: AppOf, tmp_path: Path
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FilesIO(tmp_path)})

    assert await app.run("total", partition="EU/2025") == 3

    assert json.loads(the_file(tmp_path).read_text()) == [1, 2]
    assert the_file(tmp_path).is_relative_to(tmp_path / "p.base")
    assert await app.get("base", partition="EU/2025") == [1, 2]


async def test_it_is_named_by_the_plugin_and_configured_where_it_is_used(
    app_of: AppOf, tmp_path: Path
) -> None:
    plugins = [FilesPlugin()]
    app, worker = [await app_of(pipeline(), plugins=plugins) for _ in range(2)]
    handle = await app.enqueue("base", io=("files", {"root": str(tmp_path), "latest": True}))

    await drain(worker)

    assert await handle.result() == [1, 2]
    assert json.loads((tmp_path / "p.base" / "_" / "latest.json").read_text()) == [1, 2]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOSPC, "ready"),
        (errno.EIO, "ready"),
        (errno.EACCES, "failed"),
        (errno.EROFS, "failed"),
    ],
)
async def test_a_disk_that_refuses_fails_the_asset_and_what_may_pass_is_tried_again(
    app_of: AppOf,
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    status: str,
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FilesIO(tmp_path)})
    handle = await app.enqueue("base")

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(whole_file.os, "fsync", refuse)
        await drain(app)

    step = (await steps(app, handle.run_id))["base"]
    error = json.loads(step.error or "")
    assert step.status == status
    assert error["code"] == "io_error"
    assert error["retryable"] is (status == "ready")
    assert f"cannot write {tmp_path}/p.base" in error["message"]
    assert os.strerror(number) in error["message"]
    if status == "ready":
        await stage.advance("6m")
        await drain(app)
        assert await handle.result() == [1, 2]


async def test_a_file_that_somebody_deleted_fails_its_reader_until_it_is_computed_again(
    app_of: AppOf, tmp_path: Path
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FilesIO(tmp_path)})
    await app.run("base")
    the_file(tmp_path).unlink()

    assert await app.exists("base"), "rows decide"
    with pytest.raises(NotStoredError, match="is gone"):
        await app.get("base")
    with pytest.raises(RunFailedError, match=r"p\.total: the file .* is gone; .*invalidate"):
        await app.run("total")

    await app.invalidate("base")
    assert await app.run("total") == 3


async def test_a_file_that_somebody_changed_is_not_taken_for_the_value(
    app_of: AppOf, tmp_path: Path
) -> None:
    app = await app_of(pipeline(io="lake"), io={"lake": FilesIO(tmp_path)})
    await app.run("base")
    the_file(tmp_path).write_text("[1,3]")

    with pytest.raises(ValueNotReadableError, match="SHA-256"):
        await app.get("base")
    with pytest.raises(RunFailedError, match="was changed"):
        await app.run("total")
