"""Form of a completion: markers present once each, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from espo_core.verifiers.base import Row, Verdict, VerifierConfig, VerifierEntry, verdict_of

Marker = Annotated[str, Field(min_length=1, max_length=64)]


class FormatConfig(VerifierConfig):
    """Parameters of `format`."""

    markers: Annotated[tuple[Marker, ...], Field(min_length=1, max_length=16)] = (
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
    )
    """Texts that must occur exactly once each, in this order."""
    whole: bool = False
    """Nothing but white space may stand before the first marker and after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Judges a completion right if its markers stand as asked; needs no reference."""

    config: FormatConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        markers = self.config.markers
        places = [completion.find(marker) for marker in markers]
        is_once = all(completion.count(marker) == 1 for marker in markers)
        is_ordered = all(
            place + len(marker) <= after
            for place, marker, after in zip(places, markers, places[1:], strict=False)
        )
        return verdict_of(is_once and is_ordered and (not self.config.whole or self._is_enclosed(completion)))

    def _is_enclosed(self, completion: str) -> bool:
        text = completion.strip()
        return text.startswith(self.config.markers[0]) and text.endswith(self.config.markers[-1])


def build(config: FormatConfig) -> Format:
    """Returns the verifier."""
    return Format(config=config)


ENTRY = VerifierEntry(
    name="format",
    summary="The completion has the given markers once each and in order.",
    config=FormatConfig,
    build=build,
)
