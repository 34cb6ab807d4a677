import pytest

from flowstone.core.contract_version import check_version
from flowstone.core.errors import IncompatiblePluginError


@pytest.mark.conformance(512)
@pytest.mark.parametrize("version", ["1.0.0", "1.0.1", "1.10.0", None])
def test_the_minimum_or_later_fits_and_none_is_compatible(version) -> None:
    check_version(version, "1.0.0", subject="x")


@pytest.mark.conformance(512)
@pytest.mark.parametrize(
    ("version", "minimum"), [("0.9.0", "1.0.0"), ("1.2.0", "1.10.0"), ("2.0.0", "1.0.0")]
)
def test_older_ones_and_another_major_are_refused_with_what_is_needed(version, minimum) -> None:
    with pytest.raises(IncompatiblePluginError, match=minimum) as caught:
        check_version(version, minimum, subject="IO manager 'lake'")

    assert "IO manager 'lake'" in str(caught.value)
    assert caught.value.code == "incompatible_version"


@pytest.mark.parametrize("version", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.x", "١.0.0", 1.0])
def test_what_is_no_version_is_refused(version) -> None:
    with pytest.raises(IncompatiblePluginError, match=r"1\.0\.0"):
        check_version(version, "1.0.0", subject="x")
