import pytest

from flowstone.cli.demo.licenses import (
    OTHER,
    PERMISSIVE,
    STRONG,
    UNKNOWN,
    WEAK,
    family_of_expression,
    family_of_name,
    license_of,
    sort_licenses,
)
from tests.cli.demo.made_environment import MadeEnvironment


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("MIT", PERMISSIVE),
        ("MIT-0", PERMISSIVE),
        ("Apache Software License", PERMISSIVE),
        ("BSD 3-Clause", PERMISSIVE),
        ("0BSD", PERMISSIVE),
        ("ISC License (ISCL)", PERMISSIVE),
        ("PSF-2.0", PERMISSIVE),
        ("The Unlicense (Unlicense)", PERMISSIVE),
        ("Historical Permission Notice and Disclaimer (HPND)", PERMISSIVE),
        ("BSL-1.0", PERMISSIVE),
        ("LGPL-3.0-only", WEAK),
        ("GNU Library or Lesser General Public License (LGPL)", WEAK),
        ("Mozilla Public License 2.0 (MPL 2.0)", WEAK),
        ("EPL-2.0", WEAK),
        ("GPLv3", STRONG),
        ("GNU General Public License v2 or later (GPLv2+)", STRONG),
        ("GNU Affero General Public License v3", STRONG),
        ("AGPL-3.0-or-later", STRONG),
        ("Other/Proprietary License", OTHER),
        ("BUSL-1.1", OTHER),
        ("permit me", OTHER),
    ],
)
def test_a_license_is_sorted_by_its_name(name: str, family: str) -> None:
    assert family_of_name(name) == family


@pytest.mark.parametrize(
    ("expression", "family"),
    [
        ("MIT OR GPL-3.0-only", PERMISSIVE),
        ("MIT AND GPL-3.0-only", STRONG),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", WEAK),
        ("(MIT or GPL-2.0-only) and LGPL-2.1-only", WEAK),
        ("GPL-2.0-only WITH Classpath-exception-2.0", WEAK),
        ("Apache-2.0 WITH LLVM-exception", PERMISSIVE),
        ("MIT AND LicenseRef-Ours", OTHER),
        ("GPL v2 or later", STRONG),
        ("(MIT OR", PERMISSIVE),
        ("OR", OTHER),
        ("MIT)", PERMISSIVE),
        ("", OTHER),
    ],
)
def test_an_expression_is_the_freer_of_or_and_the_stricter_of_and(
    expression: str, family: str
) -> None:
    assert family_of_expression(expression) == family


def test_an_expression_that_nests_without_end_is_sorted_by_name() -> None:
    assert family_of_expression("(" * 100_000 + " MIT OR X") == PERMISSIVE


class TestTheEvidence:
    def test_that_is_an_expression_outweighs_classifiers(self, made: MadeEnvironment) -> None:
        made.install(
            "thing",
            headers=[
                "License-Expression: MPL-2.0",
                "Classifier: License :: OSI Approved :: MIT License",
            ],
        )

        found = license_of(made.only())

        assert (found.license, found.family) == ("MPL-2.0", WEAK)
        assert found.evidence == "License-Expression"

    def test_of_several_classifiers_is_the_strictest(self, made: MadeEnvironment) -> None:
        made.install(
            "thing",
            headers=[
                "License: BSD",
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: License :: OSI Approved :: GNU General Public License (GPL)",
            ],
        )

        found = license_of(made.only())

        assert found.license == "MIT License / GNU General Public License (GPL)"
        assert (found.family, found.evidence) == (STRONG, "classifier")

    def test_that_only_says_approved_is_none(self, made: MadeEnvironment) -> None:
        made.install("thing", headers=["License: ISC", "Classifier: License :: OSI Approved"])

        assert license_of(made.only()).evidence == "License field"

    def test_may_be_how_the_license_file_begins(self, made: MadeEnvironment) -> None:
        text = b"Copyright 2020 Somebody\nPermission is hereby granted, free of charge, to any"
        made.install("thing", beside={"LICENSE": text})

        found = license_of(made.only())

        assert (found.family, found.evidence) == (PERMISSIVE, "license file")

    def test_may_be_none_at_all(self, made: MadeEnvironment) -> None:
        made.install("thing")

        assert license_of(made.only()).family == UNKNOWN


def test_every_family_is_counted(made: MadeEnvironment) -> None:
    made.install("one", headers=["License: MIT"])
    made.install("two", headers=["License: GPL"])
    made.install("three", headers=["License: Ours"])

    assert sort_licenses(made.distributions()).families == {
        PERMISSIVE: 1,
        WEAK: 0,
        STRONG: 1,
        OTHER: 1,
        UNKNOWN: 0,
    }
