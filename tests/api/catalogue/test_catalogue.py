from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from api.catalogue.catalogue import Catalogue
from api.catalogue.models import facts_of, list_models
from tests.api.rows import make_model_folder

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.parametrize(
    ("noun", "name"),
    [("algorithms", "espo"), ("verifiers", "math"), ("tasks", "countdown"), ("models", "toy")],
)
async def test_catalogues_are_lists(client: httpx.AsyncClient, noun: str, name: str) -> None:
    page = (await client.get(f"/v1/{noun}")).json()
    assert (page["object"], page["has_more"]) == ("list", False)
    assert name in [entry["id"] for entry in page["data"]]


async def test_an_algorithm_names_its_paper(client: httpx.AsyncClient) -> None:
    entries = {entry["name"]: entry for entry in (await client.get("/v1/algorithms")).json()["data"]}
    assert entries["espo"]["paper"].startswith("arXiv:2512.00499")
    assert "alpha" in entries["espo"]["parameters"]["properties"]


def test_every_default_is_valid() -> None:
    catalogue = Catalogue.load()
    for kind in ("algorithms", "verifiers", "tasks"):
        for entry in catalogue.entries(kind):
            filled = catalogue.fill(kind, entry["name"], {})
            errors = catalogue.check_parameters(kind, entry["name"], filled, loc="p")
            assert {error.message for error in errors} <= {"missing"}, entry["name"]


def test_a_missing_parameter_is_named() -> None:
    (error,) = Catalogue.load().check_parameters("verifiers", "regex", {}, loc="reward[0].parameters")
    assert (error.loc, error.message) == ("reward[0].parameters.pattern", "missing")


def test_given_parameters_win() -> None:
    assert Catalogue.load().fill("algorithms", "espo", {"alpha": 0.5})["alpha"] == 0.5


def test_a_model_is_described_without_loading_it(tmp_path: Path) -> None:
    make_model_folder(tmp_path / "toy")
    (facts,) = list_models(str(tmp_path))
    assert (facts.name, facts.parameters, facts.architecture, facts.hidden) == ("toy", 12, "Toy", 3)


def test_the_shape_of_a_model_is_in_its_config_and_the_names_of_its_tensors() -> None:
    facts = facts_of(EXAMPLES / "tiny-base")
    assert facts is not None
    assert (facts.layers, facts.hidden, facts.intermediate, facts.vocabulary) == (2, 96, 256, 22)
    assert (facts.query_width, facts.key_width, facts.is_tied) == (96, 96, False)
    attention = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), 2 * (96 + 96))
    wide = dict.fromkeys(("gate_proj", "up_proj", "down_proj"), 2 * (96 + 256))
    assert facts.adapter_widths == attention | wide


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{]", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_broken_model_is_left_out(tmp_path: Path, content: bytes) -> None:
    make_model_folder(tmp_path / "toy")
    (tmp_path / "toy" / "model.safetensors").write_bytes(content)
    assert facts_of(tmp_path / "toy") is None
    (tmp_path / "toy" / "config.json").write_text(json.dumps([]))
    assert list_models(str(tmp_path)) == []
