"""Applications that use the plugin play in memory and on Postgres, like all others."""

from tests.application.conftest import admin, app_of, empty_stage, shared_database, stage

__all__ = ["admin", "app_of", "empty_stage", "shared_database", "stage"]
