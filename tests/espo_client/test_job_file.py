from __future__ import annotations

import json
from pathlib import Path

import pytest

from espo_client import job_file
from espo_client.errors import JobFileError

GOOD = """
name: test
model: {name: tiny-base}
data: {task: {name: countdown}}
reward: [{verifier: countdown}]
optimiser: {learning_rate: 1e-4}
algorithm: {name: espo, parameters: {alpha: 1e-1}}
"""


def write(folder: Path, text: str, name: str = "job.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_yaml_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    document = job_file.load(write(tmp_path, GOOD)).document
    assert document["optimiser"]["learning_rate"] == 1e-4
    # A parameter has no type before the service knows the algorithm, so a text would stay a text.
    assert document["algorithm"]["parameters"]["alpha"] == 0.1


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    document = job_file.load(write(tmp_path, GOOD)).document
    assert job_file.load(write(tmp_path, json.dumps(document), "job.json")).document == document


def test_every_wrong_field_is_named_with_its_path(tmp_path: Path) -> None:
    text = GOOD.replace("name: tiny-base", "nam: tiny-base") + "rollout: {group_size: 1}\nsede: 3\n"
    with pytest.raises(JobFileError) as caught:
        job_file.load(write(tmp_path, text))
    wrong = {error.loc: error.message for error in caught.value.errors}
    assert set(wrong) >= {"model.nam", "rollout.group_size", "sede"}
    assert "did you mean seed?" in wrong["sede"]
    assert all(loc in str(caught.value) for loc in wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1"),
        ("a: 1\na: 2", "'a' stands twice.*line 2"),
        ("- 1", "holds no job"),
        ("", "holds no job"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("[" * 1500, "nested too deeply"),
    ],
)
def test_what_is_no_job_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(JobFileError, match=message) as caught:
        job_file.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_too_large_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match="No such file"):
        job_file.load(tmp_path / "none.yaml")
    with pytest.raises(JobFileError, match="larger than 1 MiB"):
        job_file.load(write(tmp_path, "#" * (job_file.LARGEST_BYTES + 1)))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobFileError, match="no UTF-8 text"):
        job_file.load(binary)


def test_a_data_file_is_found_beside_the_job_file_and_replaced_by_its_id(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = tmp_path / "data" / "train.jsonl"
    data.write_text('{"prompt": "1"}\n')
    text = GOOD.replace("{task: {name: countdown}}", "{file: data/train.jsonl, max_prompt_tokens: 8}")
    job = job_file.load(write(tmp_path, text))
    uploaded: list[Path] = []

    def upload(path: Path) -> str:
        uploaded.append(path)
        return "file-" + "1" * 32

    document = job.with_uploads(upload)
    assert uploaded == [data]
    assert document["data"] == {"file": "file-" + "1" * 32, "max_prompt_tokens": 8}
    assert job.document["data"]["file"] == "data/train.jsonl", "the document as written stays"


def test_an_uploaded_file_is_left_alone(tmp_path: Path) -> None:
    text = GOOD.replace("{task: {name: countdown}}", f"{{file: file-{'a' * 32}}}")
    job = job_file.load(write(tmp_path, text))
    assert job.data_file is None
    assert job.with_uploads(lambda _: pytest.fail("nothing to upload")) == job.document


def test_a_data_file_that_is_not_there_is_an_error_of_its_field(tmp_path: Path) -> None:
    text = GOOD.replace("{task: {name: countdown}}", "{file: none.jsonl}")
    with pytest.raises(JobFileError) as caught:
        job_file.load(write(tmp_path, text))
    assert [error.loc for error in caught.value.errors] == ["data.file"]
    assert str(tmp_path / "none.jsonl") in str(caught.value)
