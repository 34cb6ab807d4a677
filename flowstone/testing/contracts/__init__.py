"""What every implementation of a contract has to do, as tests that its author runs over it."""

import pkgutil

import pytest

# Each by its name, before it is imported: this package itself is imported already.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
)
