"""What authors of pipelines and plugins test with; needs pytest."""

import pytest

pytest.register_assert_rewrite("flowstone.testing.contracts")
