"""Tokens as URLs carry them: whatever is in them comes back, and nothing else does."""

import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flowstone.core.errors import InvalidOptionError
from flowstone.plugins.signal_gate import token as tokens
from flowstone.plugins.signal_gate.callbacks import Callbacks
from flowstone.plugins.signal_gate.errors import (
    ForgedTokenError,
    MalformedTokenError,
    SecretMissingError,
    TokenError,
    TokenExpiredError,
)
from flowstone.plugins.signal_gate.token import (
    checked_token,
    new_token,
    sign,
    token_hash,
    verify,
)

SECRET, OTHER = b"0123456789abcdef0123456789abcdef", b"another-secret-another-secret-32"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


class TestTheCodec:
    @pytest.mark.conformance(347)
    def test_a_known_token_is_what_it_always_was(self) -> None:
        expires_at = datetime.fromtimestamp(4102444800, UTC)

        assert sign("task-123", expires_at, b"test-secret") == (
            "task-123.4102444800.r-YXkZoTZvrM792BM9UbhiU1t2DwtcUBwiaaMDeyQU8"
        )

    @pytest.mark.conformance(352)
    def test_known_hashes_are_what_they_always_were(self) -> None:
        assert token_hash("token1") == "df3e6b0bb66ceaadca4f84cbc371fd66"
        assert token_hash("token2") == "d8cc7aed3851ac3338fcc15df3b6807b"

    @pytest.mark.conformance(353)
    def test_new_ones_differ_and_need_no_quoting(self) -> None:
        made = {new_token() for _ in range(1000)}

        assert len(made) == 1000
        assert all(len(it) == 22 and set(it) <= URL_SAFE for it in made)

    @pytest.mark.conformance(348)
    @given(texts, st.datetimes(NOW.replace(tzinfo=None), timezones=st.just(UTC)))
    @example("t", datetime(4148, 1, 1, 0, 0, 0, 999_993, UTC))
    def test_what_was_signed_comes_back(self, token: str, expires_at: datetime) -> None:
        signed = sign(token, expires_at, SECRET)

        assert verify(signed, [SECRET], NOW) == (token, expires_at.replace(microsecond=0))

    @given(texts)
    def test_a_url_gives_it_back_whatever_is_in_it(self, token: str) -> None:
        assume(len(token.encode()) <= tokens.MOST_BYTES)
        callbacks = Callbacks([SECRET], "https://example.org/hooks/")

        url = callbacks.url(token)

        head, _, last = url.rpartition("/")
        assert head == "https://example.org/hooks/signals"
        assert set(last) <= URL_SAFE | {"%", ".", "~"}
        assert callbacks.token_of(unquote(last)) == token

    @settings(max_examples=200)
    @given(texts, st.data())
    def test_no_other_text_is_taken_for_it(self, token: str, data: st.DataObject) -> None:
        signed = sign(token, LATER, SECRET)
        place = data.draw(st.integers(0, len(signed) - 1))
        mutant = data.draw(
            st.one_of(
                st.just(signed[:place]),
                st.just(signed[:place] + signed[place + 1 :]),
                st.characters(exclude_categories=[]).map(
                    lambda it: signed[:place] + it + signed[place + 1 :]
                ),
                st.characters(exclude_categories=[]).map(
                    lambda it: signed[:place] + it + signed[place:]
                ),
            )
        )
        assume(mutant != signed)

        with pytest.raises(TokenError):
            verify(mutant, [SECRET], NOW)

    @given(texts)
    def test_a_foreign_secret_signs_nothing_of_ours(self, token: str) -> None:
        with pytest.raises(ForgedTokenError):
            verify(sign(token, LATER, OTHER), [SECRET], NOW)

    @given(texts)
    def test_the_parts_of_one_do_not_make_another(self, token: str) -> None:
        """``a.1.b`` with one expiry is not ``a`` with another."""
        signed = sign(f"{token}.4102444800", LATER, SECRET)
        stamp = int(LATER.timestamp())
        signature = signed.rpartition(".")[2]

        assert verify(signed, [SECRET], NOW)[0] == f"{token}.4102444800"
        for forged in (f"{token}.4102444800.{signature}", f"{token}.{stamp}.{signature}"):
            with pytest.raises(ForgedTokenError):
                verify(forged, [SECRET], NOW)

    @pytest.mark.conformance(349)
    def test_after_its_expiry_it_is_over(self) -> None:
        signed = sign("task", NOW, SECRET)

        assert verify(signed, [SECRET], NOW)[0] == "task"
        with pytest.raises(TokenExpiredError, match="2026-01-01 00:00:00 UTC"):
            verify(signed, [SECRET], NOW + timedelta(seconds=1))

    @pytest.mark.conformance(350)
    def test_another_token_under_the_signature_is_forged(self) -> None:
        signed = sign("task-123", LATER, SECRET)

        with pytest.raises(ForgedTokenError):
            verify(signed.replace("task-123", "task-456"), [SECRET], NOW)
        with pytest.raises(ForgedTokenError):
            verify(signed.replace("task-123", "task-456"), [SECRET], NOW + timedelta(days=1))

    @pytest.mark.conformance(351)
    @pytest.mark.parametrize("text", ["", "invalid", "no.dots", "..", "a..b", ".1.b", "a.1."])
    def test_what_has_no_three_parts_is_malformed(self, text: str) -> None:
        with pytest.raises(MalformedTokenError):
            verify(text, [SECRET], NOW)

    def test_signatures_are_compared_in_constant_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared: list[tuple[bytes, bytes]] = []

        def compare(given: bytes, expected: bytes) -> bool:
            compared.append((given, expected))
            return given == expected

        monkeypatch.setattr(hmac, "compare_digest", compare)
        signed = sign("task", LATER, SECRET)

        verify(signed, [SECRET, OTHER], NOW)

        assert len(compared) == 2, "with every secret, whichever fits"


class TestSecrets:
    def test_the_first_signs_and_all_verify(self) -> None:
        old, rotated = Callbacks([OTHER]), Callbacks([SECRET, OTHER])
        before, after = old.signed("t"), rotated.signed("t")

        assert rotated.token_of(before) == rotated.token_of(after) == "t"
        assert Callbacks([SECRET]).token_of(after) == "t"
        with pytest.raises(ForgedTokenError):
            old.token_of(after)

    def test_without_one_nothing_is_signed_or_taken(self) -> None:
        callbacks = Callbacks()

        for attempt in (lambda: callbacks.url("t"), lambda: callbacks.token_of("a.1.b")):
            with pytest.raises(SecretMissingError, match="FLOWSTONE_SIGNAL_SECRETS"):
                attempt()

    @pytest.mark.parametrize("secret", ["short", b"x" * 31, ""])
    def test_a_short_one_is_refused(self, secret: str | bytes) -> None:
        with pytest.raises(InvalidOptionError, match="32 bytes at least"):
            Callbacks([secret])

    @pytest.mark.conformance(363)
    def test_a_url_says_where_signals_arrive(self) -> None:
        callbacks = Callbacks([SECRET], "https://api.example.com", "/hooks/flowstone/signal")

        assert callbacks.url("t").startswith("https://api.example.com/hooks/flowstone/signal/t.")

    def test_a_url_is_valid_for_as_long_as_was_said(self) -> None:
        callbacks = Callbacks([SECRET])

        assert callbacks.token_of(callbacks.signed("t", valid_for="1h")) == "t"
        stamp = int(callbacks.signed("t", valid_for="1h").split(".")[1])
        assert abs(stamp - datetime.now(UTC).timestamp() - 3600) < 60
        assert callbacks.signed("t").split(".")[1] == "4102444800"


@pytest.mark.parametrize("token", ["", "a\0", "\ud800", "ü" * 1025, 7, None])
def test_what_cannot_be_a_token_is_refused(token: object) -> None:
    with pytest.raises(InvalidOptionError, match="must be a text"):
        checked_token(token)


URL_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
