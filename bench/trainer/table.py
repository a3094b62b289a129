"""The figures as a Markdown table with its foot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.trainer.figures import Figure, Share

HEADER = (
    "| work | TRL, s | ours, s | times faster | by processor time | reach | memory: TRL, ours | share |",
    "|---|---|---|---|---|---|---|---|",
)

TOLD = (
    "sampling_seconds",
    "generate_seconds",
    "old_logprobs_seconds",
    "update_seconds",
    "tokens",
    "longest",
    "equal_rewards",
)
"""Facts of a side that explain its time; `sampling` is all that comes before the updates."""


def lines_of(figures: Sequence[Figure], shares: Sequence[Share]) -> Iterator[str]:
    """Yields the table and what stands under it."""
    if figures:
        yield from HEADER
        yield from map(_row, figures)
    for share in shares:
        yield _share(share)
    yield ""
    for figure in figures:
        yield from _foot(figure)


def _row(figure: Figure) -> str:
    race, reached = figure.race, "reached" if figure.is_reached() else "NOT reached"
    share = 1 / race.ratio(figure.memory)
    bound = "" if figure.memory_reach is None else f" (reach {figure.memory_reach:.2g})"
    cells = (
        f"({figure.name}) {figure.title}",
        f"{race.median('peer', 'wall'):.3g}",
        f"{race.median('ours', 'wall'):.3g}",
        f"{race.ratio('wall'):.2f}",
        f"{race.ratio('cpu'):.2f}",
        f"{figure.reach:g}: {reached}",
        f"{_bytes(race.median('peer', figure.memory))}, {_bytes(race.median('ours', figure.memory))}",
        f"{share:.2g}{bound}",
    )
    return f"| {' | '.join(cells)} |"


def _share(share: Share) -> str:
    reached = "reached" if share.share <= share.reach else "NOT reached"
    return (
        f"\nESPO's objective, forward and backward: {1000 * share.objective:.2f} ms of a step of "
        f"({share.name}), {share.share:.2%} (reach {share.reach:.0%}: {reached})"
    )


def _foot(figure: Figure) -> Iterator[str]:
    """Yields the checks, and where the seconds go."""
    if figure.checks:
        yield f"({figure.name}) " + "; ".join(check.line() for check in figure.checks)
    for side in ("ours", "peer"):
        facts = getattr(figure.race, side)[0]
        told = [f"{name} {figure.race.median(side, name):.4g}" for name in TOLD if name in facts]
        if told:
            yield f"({figure.name}) {side}, medians by the wall: {', '.join(told)}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"
