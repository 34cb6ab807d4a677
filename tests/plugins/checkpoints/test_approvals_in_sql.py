"""Approvals are decided and seen from anywhere that speaks SQL."""

from typing import Any

import psycopg
import pytest

from flowstone import Retry, RunFailedError
from flowstone.core.errors import (
    ValueNotReadableError,
)
from flowstone.plugins.checkpoints import (
    ApprovalStatus,
    get_approval,
    reject,
)
from tests.application.conftest import AppOf, on_postgres
from tests.application.stage import (
    PostgresStage,
    Stage,
    statuses,
)
from tests.plugins.checkpoints.asking import asked, result
from tests.plugins.checkpoints.desk import Desk


@on_postgres
class TestSql:
    """Anybody who speaks SQL can decide."""

    @pytest.fixture
    def pg(self, stage: Stage) -> psycopg.Connection[Any]:
        assert isinstance(stage, PostgresStage)
        return stage.admin

    @pytest.mark.parametrize(
        ("statement", "status", "booked"),
        [
            ("checkpoints_approve(%s, 'ann')", "approved", "tea for 5000"),
            (
                """checkpoints_approve(%s, 'ann', 'less', '{"total": 3, "item": "ale"}')""",
                "modified",
                "ale for 3",
            ),
        ],
    )
    async def test_approving(
        self,
        app_of: AppOf,
        pg: psycopg.Connection[Any],
        statement: Any,
        status: str,
        booked: str,
    ) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        assert pg.execute(f"SELECT {statement}", [it.id]).fetchone() == (status,)

        assert await result(app, run_id) == booked

    async def test_rejecting_commits_with_the_callers_transaction(
        self, app_of: AppOf, pg: psycopg.Connection[Any]
    ) -> None:
        desk = Desk()
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)
        statement = "SELECT checkpoints_reject(%s, 'ann', 'nope')"

        with pg.transaction(force_rollback=True):
            pg.execute(statement, [it.id])
        assert (await get_approval(app, it.id)).status is ApprovalStatus.PENDING
        assert (await statuses(app, run_id))["trade"] == "waiting"
        pg.execute(statement, [it.id])

        with pytest.raises(RunFailedError, match="rejected by ann: nope"):
            await result(app, run_id)

    async def test_passing_on_and_refusals(
        self, app_of: AppOf, pg: psycopg.Connection[Any]
    ) -> None:
        desk = Desk(approvers=["risk"], timeout="1h")
        app = await app_of(desk.pipeline)
        _, it = await asked(app, desk)

        def refused(call: str) -> tuple[str | None, str | None]:
            with pytest.raises(psycopg.Error) as caught:
                pg.execute(f"SELECT {call}".encode(), [it.id])
            return caught.value.sqlstate, caught.value.diag.message_primary

        assert refused("checkpoints_approve(%s, 'eve')") == (
            "FS041",
            f"eve may not decide approval {it.id}",
        )
        escalated = "SELECT checkpoints_escalate(%s, 'ann', '{cfo}', 'large', '1d', '{risk}')"
        assert pg.execute(escalated, [it.id]).fetchone() == ("escalated",)
        assert pg.execute("SELECT checkpoints_approve(%s, 'cfo')", [it.id]).fetchone()
        sqlstate, message = refused("checkpoints_reject(%s, 'cfo')")
        assert sqlstate == "FS040"
        assert f"approval {it.id} was approved by cfo at" in str(message)
        assert refused("checkpoints_reject(%s + 1000, 'cfo')")[0] == "FS042"
        for nobody in (
            "checkpoints_approve(%s, ' ')",
            "checkpoints_reject(%s, NULL)",
            "checkpoints_escalate(%s, 'ann', '{}')",
            "checkpoints_escalate(%s, 'ann', '{cfo,NULL}')",
        ):
            assert refused(nobody)[0] == "FS043"

    async def test_a_value_that_is_not_the_assets_fails_it(
        self, app_of: AppOf, pg: psycopg.Connection[Any]
    ) -> None:
        desk = Desk(options={"retry": Retry(5, base=0)})
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        pg.execute("SELECT checkpoints_approve(%s, 'ann', '', '[1]')", [it.id])

        with pytest.raises(RunFailedError) as caught:
            await result(app, run_id)
        assert isinstance(caught.value.__cause__, ValueNotReadableError)

    async def test_the_views_show_what_waits_on_whom_and_what_was_decided(
        self, app_of: AppOf, pg: psycopg.Connection[Any]
    ) -> None:
        desk = Desk(approvers=["risk"], timeout="2d")
        app = await app_of(desk.pipeline)
        run_id, it = await asked(app, desk)

        waits = pg.execute(
            "SELECT asset, waiting_on, whom, state ->> 'message', deadline_at > now() + '47h' "
            "FROM waiting WHERE run_id = %s",
            [run_id],
        ).fetchall()
        await reject(app, it.id, by="risk", reason="nope")
        decided = pg.execute(
            "SELECT status, decided_by, reason, decided_at > requested_at FROM approvals "
            "WHERE materialization_id = %s",
            [it.id],
        ).fetchall()

        assert waits == [("desk.trade", "approval", ["risk"], "large", True)]
        assert decided == [("rejected", "risk", "nope", True)]
