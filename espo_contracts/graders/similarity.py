"""How alike two texts are, from 0 to 1. Words are runs of letters and digits, in lower case."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

_WORD = re.compile(r"\w+")
_LONGEST_NGRAM = 4


def fuzzy_match(text: str, reference: str) -> float:
    """2·LCS / (|text| + |reference|) in characters, a hundredth of `rapidfuzz.fuzz.ratio`."""
    length = len(text) + len(reference)
    return 2 * common_length(text, reference) / length if length else 1.0


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004)."""
    ours, theirs = words(text), words(reference)
    return 2 * common_length(ours, theirs) / (len(ours) + len(theirs)) if ours or theirs else 0.0


def rouge_n(n: int) -> Callable[[str, str], float]:
    """F1 of the shared n-grams (Lin 2004)."""

    def score(text: str, reference: str) -> float:
        ours, theirs = ngrams(words(text), n), ngrams(words(reference), n)
        total = ours.total() + theirs.total()
        return 2 * (ours & theirs).total() / total if total else 0.0

    return score


def bleu(text: str, reference: str) -> float:
    """BLEU-4 of one sentence (Papineni 2002), for n > 1 with one added to both counts (Lin and Och 2004)."""
    ours, theirs = words(text), words(reference)
    if not ngrams(ours, 1) & ngrams(theirs, 1):
        return 0.0
    logs = 0.0
    for n in range(1, _LONGEST_NGRAM + 1):
        added = int(n > 1)
        shared = (ngrams(ours, n) & ngrams(theirs, n)).total()
        logs += math.log((shared + added) / (max(1, len(ours) - n + 1) + added))
    return math.exp(logs / _LONGEST_NGRAM + min(0.0, 1 - len(theirs) / len(ours)))


def gleu(text: str, reference: str) -> float:
    """The smaller of precision and recall of all 1- to 4-grams (Wu 2016, arXiv:1609.08144v2, section 4.3)."""
    ours, theirs = words(text), words(reference)
    shared = most = 0
    for n in range(1, _LONGEST_NGRAM + 1):
        shared += (ngrams(ours, n) & ngrams(theirs, n)).total()
        most += max(0, max(len(ours), len(theirs)) - n + 1)
    return shared / most if most else 0.0


METRICS: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "rouge_1": rouge_n(1),
    "rouge_2": rouge_n(2),
    "rouge_3": rouge_n(3),
    "rouge_4": rouge_n(4),
    "rouge_5": rouge_n(5),
    "rouge_l": rouge_l,
}


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def ngrams(sequence: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(sequence[start : start + n]) for start in range(len(sequence) - n + 1))


def common_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, a whole row of its table in one integer (Hyyrö 2004)."""
    where: dict[Hashable, int] = {}
    for place, item in enumerate(first):
        where[item] = where.get(item, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for item in second:
        matched = row & where.get(item, 0)
        row = (row + matched | row - matched) & everywhere
    return len(first) - row.bit_count()
