import pydantic
import pytest

from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.errors import DatabaseError, DatabaseUnreachableError, ValidationFailedError
from flowstone.testing.contracts.error_normalizer_contract import ErrorNormalizerContract


class OperationalError(Exception):
    """What a database driver raises."""


class ConnectionLost(OperationalError):
    """Its connection is gone."""


class Strict(pydantic.BaseModel):
    n: int


def validation_error() -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        Strict.model_validate({"n": "x"})
    return caught.value


class TestErrorNormalizer(ErrorNormalizerContract):
    @pytest.fixture
    def foreign(self):
        return [
            (validation_error(), ValidationFailedError, False),
            (OperationalError("bad"), DatabaseError, False),
            (ConnectionLost("gone"), DatabaseUnreachableError, True),
        ]

    @pytest.fixture
    def normalizer(self) -> ErrorNormalizer:
        normalizer = ErrorNormalizer()
        normalizer.register(OperationalError, lambda error: DatabaseError(str(error)))
        normalizer.register(ConnectionLost, lambda error: DatabaseUnreachableError(str(error)))
        return normalizer

    def test_another_instance_knows_nothing_of_it(self, normalizer) -> None:
        assert type(ErrorNormalizer().normalize(ConnectionLost())) is not DatabaseUnreachableError

    def test_a_class_can_be_registered_by_its_name(self, normalizer) -> None:
        name = f"{OperationalError.__module__}.OperationalError"
        normalizer = ErrorNormalizer()

        normalizer.register(name, lambda error: DatabaseError("by name"))

        assert str(normalizer.normalize(ConnectionLost())) == "by name"
        assert name in normalizer.known()
