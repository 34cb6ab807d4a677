"""What every error normalizer has to do."""

from collections.abc import Sequence

import pytest

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.errors import (
    AssetFunctionError,
    DatabaseError,
    FlowStoneError,
    StorageError,
    ValidationFailedError,
)
from flowstone.testing.conformance import answers


class ErrorNormalizerContract:
    """
    Subclass it with the fixture ``normalizer``.

    ``foreign`` gives exceptions of a library and what each becomes: class and whether trying again
    can help.
    """

    @pytest.fixture
    def foreign(self) -> Sequence[tuple[BaseException, type[FlowStoneError], bool]]:
        """Give what the plugin converts."""
        return ()

    @pytest.fixture
    def normalizer(self) -> ErrorNormalizer:
        """Give the normalizer, with what the plugin registers."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `normalizer`")

    @answers(513)
    def test_what_the_library_raises_becomes_what_it_means(
        self,
        normalizer: ErrorNormalizer,
        foreign: Sequence[tuple[BaseException, type[FlowStoneError], bool]],
    ) -> None:
        for error, kind, is_retryable in foreign:
            normalized = normalizer.normalize(error)

            assert (type(normalized), normalized.retryable) == (kind, is_retryable), repr(error)
            assert normalized.__cause__ is error

    @answers(98)
    def test_an_error_of_ours_is_left_as_it_is(self, normalizer: ErrorNormalizer) -> None:
        error = DatabaseError("gone", sqlstate="57P01")

        assert normalizer.normalize(error) is error

    def test_what_nobody_knows_is_the_borders_error_and_final(
        self, normalizer: ErrorNormalizer
    ) -> None:
        class Unheard(Exception):
            pass

        error = Unheard("boom")

        from_function = normalizer.normalize(error)
        from_storage = normalizer.normalize(error, otherwise=StorageError)

        assert type(from_function) is AssetFunctionError
        assert type(from_storage) is StorageError
        for normalized in (from_function, from_storage):
            assert not normalized.retryable
            assert normalized.__cause__ is error
            assert "boom" in str(normalized)

    @answers(117)
    @pytest.mark.parametrize(
        ("error", "is_retryable"),
        [
            (ConnectionResetError("reset"), True),
            (TimeoutError("slow"), True),
            (PermissionError("permission denied"), False),
        ],
        ids=repr,
    )
    def test_lost_connections_and_timeouts_may_pass(
        self, normalizer: ErrorNormalizer, error: Exception, is_retryable: bool
    ) -> None:
        assert normalizer.normalize(error, otherwise=StorageError).retryable is is_retryable

    def test_the_nearest_class_wins(self, normalizer: ErrorNormalizer) -> None:
        class Broad(Exception):
            pass

        class Narrow(Broad):
            pass

        class Narrowest(Narrow):
            pass

        normalizer.register(Broad, lambda error: StorageError(str(error)))
        normalizer.register(Narrow, lambda error: ValidationFailedError(str(error)))

        assert type(normalizer.normalize(Broad())) is StorageError
        assert type(normalizer.normalize(Narrowest())) is ValidationFailedError

    def test_registering_again_replaces(self, normalizer: ErrorNormalizer) -> None:
        class Foreign(Exception):
            pass

        normalizer.mark_retryable(Foreign)
        normalizer.register(Foreign, lambda error: DatabaseError(str(error)))

        assert type(normalizer.normalize(Foreign())) is DatabaseError
