"""The catalogue: complete, deterministic, and checked for staleness."""

import json
from pathlib import Path

import jsonschema
import pytest

from espo_core import catalogue
from espo_core.algorithms import ALGORITHMS
from espo_core.tasks import TASKS
from espo_core.verifiers import VERIFIERS


def test_lists_everything_in_order() -> None:
    sections = catalogue.catalogue()
    for section, entries in (("algorithms", ALGORITHMS), ("tasks", TASKS), ("verifiers", VERIFIERS)):
        assert [entry["name"] for entry in sections[section]] == sorted(entries)


def test_every_entry_describes_itself_and_each_parameter() -> None:
    for section in catalogue.catalogue().values():
        for entry in section:
            assert entry["title"]
            assert entry["summary"]
            for name, schema in entry["parameters"]["properties"].items():
                assert schema.get("description"), f"{entry['name']}.{name} has no description"
                assert "\n" not in schema["description"]


def test_algorithms_name_paper_and_fidelity() -> None:
    for entry in catalogue.catalogue()["algorithms"]:
        assert entry["paper"].startswith("arXiv:") or entry["fidelity"] == "original"
        assert entry["fidelity"] in {"paper", "reconstruction", "original"}


@pytest.mark.parametrize(
    ("parameters", "is_valid"),
    [
        ({}, True),
        ({"alpha": 0.1, "quantiles": [0.5, 0.9]}, True),
        ({"alpha": 0}, False),
        ({"alhpa": 0.1}, False),
        ({"quantiles": [0.5, 0.5]}, False),
        ({"carrier": "reference"}, False),
    ],
)
def test_schema_judges_parameters_as_the_config_does(parameters: dict[str, object], is_valid: bool) -> None:
    (espo,) = (entry for entry in catalogue.catalogue()["algorithms"] if entry["name"] == "espo")
    schema = jsonschema.Draft202012Validator(espo["parameters"])
    assert schema.is_valid(parameters) == is_valid


def test_schema_holds_the_defaults() -> None:
    for entry in catalogue.catalogue()["algorithms"]:
        config = ALGORITHMS[entry["name"]].config().model_dump(mode="json")
        assert {name: one["default"] for name, one in entry["parameters"]["properties"].items()} == config


def test_written_file_is_current_until_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "catalogue.json"
    assert catalogue.main(["--check", "--path", str(path)]) == 1
    assert catalogue.main(["--path", str(path)]) == 0
    assert catalogue.main(["--check", "--path", str(path)]) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == catalogue.catalogue()
    path.write_text(path.read_text(encoding="utf-8").replace("espo", "espa"), encoding="utf-8")
    assert catalogue.main(["--check", "--path", str(path)]) == 1
    assert "make catalogue" in capsys.readouterr().err
