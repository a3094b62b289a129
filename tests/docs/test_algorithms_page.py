"""`docs/algorithms.md` says what the code does."""

from __future__ import annotations

import contextlib
import io
import json
import re
import textwrap

import pytest
import yaml

from espo_contracts.rollout import RolloutSpec
from espo_core.algorithms import ALGORITHMS
from espo_core.objectives.advantage import DIVISORS
from espo_core.objectives.trajectory import POSITIONS, new_trajectory_baseline
from tests.docs.family import GENERATED
from tests.docs.page import PAGE, ROOT, Block, blocks, generated, prose, read, rows, section

EVIDENCE = PAGE.parent / "evidence" / "README.md"
QUOTES = blocks(read(), "From")
LINK = re.compile(r"\[[^]]*\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


@pytest.mark.parametrize("name", GENERATED)
def test_tables_are_those_of_the_code(name: str) -> None:
    assert generated(read(), name) == GENERATED[name](), "run `python -m tests.docs.family`"


def test_the_page_quotes_code_for_each_of_the_papers_equations() -> None:
    derivation = section(read(), "## ESPO, from its equations to the code")
    for number in range(5, 12):
        told = derivation.index(f"(Eq. {number}).**")
        assert 0 < derivation.index("\nFrom `", told) - told < 1000


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: f"{quote.path}:{quote.text.split('(')[0][:30]}")
def test_quotations_stand_in_their_files(quote: Block) -> None:
    source = (ROOT / str(quote.path)).read_text(encoding="utf-8")
    assert any(f"\n{textwrap.indent(quote.text, ' ' * depth)}" in source for depth in (0, 4, 8))


def test_the_example_prints_what_the_page_says() -> None:
    (program,), (printed,) = blocks(read(), "Run"), blocks(read(), "Prints")
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(program.text, PAGE.name, "exec"), {})
    assert output.getvalue() == printed.text


def test_open_readings_name_parameters_with_their_defaults() -> None:
    defaults = ALGORITHMS["espo"].config().model_dump(mode="json")
    readings = rows(section(read(), "### What the paper leaves open"))
    named = {parameter.strip("`"): json.loads(default.strip("`")) for _, parameter, default, _ in readings}
    assert named == {name: value for name, value in defaults.items() if name != "baseline"}


def test_every_reconstruction_is_explained_and_nothing_else() -> None:
    explained = {row[0].strip("`") for row in rows(section(read(), "## Reconstructions"))}
    assert explained == {name for name, one in ALGORITHMS.items() if one.fidelity == "reconstruction"}


def test_every_kind_of_advantage_is_in_its_table() -> None:
    table = read()[read().index("| `advantage` |") :]
    assert [row[0].strip("`") for row in rows(table)] == list(DIVISORS)


def test_the_baseline_has_the_constants_of_the_page() -> None:
    told, baseline = (
        section(read(), "## The entropy-trajectory baseline"),
        new_trajectory_baseline(kind="zscore"),
    )
    assert f"first {POSITIONS} positions" in told
    assert f"counts {baseline.decay} of the next" in told


def test_fields_of_a_job_exist() -> None:
    named = set(re.findall(r"`rollout\.(\w+)`", prose(read())))
    assert len(named) >= 6
    assert named <= RolloutSpec.model_fields.keys()
    (example,) = (block for block in blocks(read(), "New") if block.path == "a-rollout.yaml")
    assert RolloutSpec(**yaml.safe_load(example.text)["rollout"]).curriculum is not None


def test_links_lead_somewhere() -> None:
    page = read()
    anchors = {
        re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", prose(page), re.M)
    }
    for link in LINK.finditer(prose(page)):
        path = (PAGE.parent / link["path"]).resolve()
        # The campaign writes its page when it ends.
        assert path.exists() or path == EVIDENCE, link[0]
        assert not link["anchor"] or link["anchor"] in anchors, link[0]


def test_files_named_in_the_text_exist() -> None:
    named = set(re.findall(r"`((?:espo_core|espo_contracts|tests)/[\w/]+\.\w+)`", prose(read())))
    new = {block.path for block in blocks(read(), "New")}
    assert len(named) >= 6
    assert [path for path in sorted(named - new) if not (ROOT / path).is_file()] == []


def test_the_result_has_its_numbers_once_they_are_measured() -> None:
    first = read().split("<!-- end of evidence -->")[0]
    assert "⟨" not in first.split("-->", 1)[1] or not EVIDENCE.is_file()
