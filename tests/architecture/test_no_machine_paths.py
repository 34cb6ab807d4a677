"""Nothing that is published names the machine or the index that it was made with."""

import re

from tests.architecture.sources import ROOT, tracked

# Written with a class of one letter each, so that this file does not contain what it looks for.
PRIVATE = re.compile(
    r"(?<![\w.-])/(?:w[o]rk|r[o]ot|f[a]rm|h[o]me/\w+|U[s]ers/\w+)/"
    r"|py[p]i\.org|python[h]osted|npm[j]s\.org|deb\.deb[i]an"
)


def test_no_file_names_a_folder_of_one_machine_or_an_index_host() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for file in tracked()
        for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1)
        if PRIVATE.search(line)
    ]

    assert found == []
