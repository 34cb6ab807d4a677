"""
"Did you mean …?": the closest known name to one that is not known.

Similarity is Jaro's; a name is suggested above 0.7, as in the original. Of dotted names that share
their head (``sales.report``, ``sales.orders``) only the tails are compared, or every asset of a
pipeline would look like every other.
"""

from collections.abc import Iterable

THRESHOLD = 0.7


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``, or None when none is like it."""
    best, best_similarity = None, THRESHOLD
    for candidate in known:
        similarity = _similarity(name, candidate)
        if similarity > best_similarity:
            best, best_similarity = candidate, similarity
    return best


def _similarity(name: str, candidate: str) -> float:
    head, _, tail = name.rpartition(".")
    candidate_head, _, candidate_tail = candidate.rpartition(".")
    if not head or head == candidate_head:
        return jaro(tail, candidate_tail)
    return jaro(name, candidate)


def jaro(left: str, right: str) -> float:
    """
    Return Jaro's similarity of two texts, from 0.0 (nothing in common) to 1.0 (equal).

    Source: M. A. Jaro, Advances in record-linkage methodology (1989).
    """
    if left == right:
        return 1.0
    if not left or not right:
        return 0.0
    reach = max(len(left), len(right)) // 2 - 1
    taken = [False] * len(right)
    matched_left = []
    for index, character in enumerate(left):
        for other in range(max(0, index - reach), min(len(right), index + reach + 1)):
            if not taken[other] and right[other] == character:
                taken[other] = True
                matched_left.append(character)
                break
    matches = len(matched_left)
    if not matches:
        return 0.0
    matched_right = [character for character, used in zip(right, taken, strict=True) if used]
    transpositions = sum(a != b for a, b in zip(matched_left, matched_right, strict=True)) // 2
    return (matches / len(left) + matches / len(right) + (matches - transpositions) / matches) / 3
