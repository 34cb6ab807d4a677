from __future__ import annotations

from dataclasses import FrozenInstanceError, field
from typing import TYPE_CHECKING

import pytest

from flowstone.core.config import Config
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.errors import InvalidOptionError

if TYPE_CHECKING:
    from datetime import date

CODEC = JsonCodec()


class ReportConfig(Config):
    top_n: int = 10
    since: date | None = None
    tags: list[str] = field(default_factory=list)


class Strict(Config):
    limit: int
    name: str = "all"

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("limit must be at least 1")


class TestAConfig:
    def test_takes_fields_by_name_and_defaults_for_the_rest(self) -> None:
        config = ReportConfig(top_n=3)

        assert (config.top_n, config.since, config.tags) == (3, None, [])

    def test_is_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            ReportConfig().top_n = 1  # type: ignore[misc]  # that it is refused is the test

    def test_compares_by_value(self) -> None:
        assert ReportConfig(top_n=3) == ReportConfig(top_n=3) != ReportConfig()

    def test_inherits_fields(self) -> None:
        class Longer(ReportConfig):
            depth: int = 2

        assert Longer(top_n=1, depth=3) == Longer.parse({"top_n": 1, "depth": 3}, CODEC)

    def test_cannot_have_a_field_that_hides_a_method(self) -> None:
        with pytest.raises(InvalidOptionError, match="a field cannot be called 'dump'"):
            type("Bad", (Config,), {"__annotations__": {"dump": int}, "dump": 1})


class TestParsing:
    def test_nothing_given_is_every_default(self) -> None:
        assert ReportConfig.parse({}, CODEC) == ReportConfig()

    def test_what_dump_gives_comes_back_equal(self) -> None:
        config = ReportConfig.parse({"top_n": 3, "since": "2024-01-01", "tags": ["a"]}, CODEC)

        assert ReportConfig.parse(config.dump(CODEC), CODEC) == config

    def test_values_become_what_the_annotations_say(self) -> None:
        config = ReportConfig.parse({"since": "2024-02-29"}, CODEC)

        assert config.since is not None
        assert config.since.isoformat() == "2024-02-29"

    def test_everything_wrong_is_told_at_once(self) -> None:
        with pytest.raises(InvalidOptionError) as caught:
            ReportConfig.parse({"topn": 1, "since": "never", "tags": 3}, CODEC, asset="sales.r")

        message = str(caught.value)
        assert message.startswith("asset 'sales.r': config ReportConfig: ")
        assert "there is no 'topn', did you mean 'top_n'?" in message
        assert "'since' must be date | None, not 'never'" in message
        assert "'tags' must be list[str], not 3" in message

    @pytest.mark.parametrize("top_n", ["3", 3.5, True, None, [3], float("nan"), object()])
    def test_a_value_of_another_type_is_refused(self, top_n: object) -> None:
        with pytest.raises(InvalidOptionError, match="'top_n' must be int"):
            ReportConfig.parse({"top_n": top_n}, CODEC)

    def test_a_field_without_default_has_to_be_given(self) -> None:
        with pytest.raises(InvalidOptionError, match="'limit' is missing: int"):
            Strict.parse({"name": "x"}, CODEC)

    def test_the_classs_own_check_is_told_the_same_way(self) -> None:
        with pytest.raises(InvalidOptionError, match="config Strict: limit must be at least 1"):
            Strict.parse({"limit": 0}, CODEC)
