"""The bench of the trainer: its works, its processes, its checks and its table; TRL is not needed."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from api.catalogue.models import ModelFacts
from bench.trainer import gpu
from bench.trainer.checks import same_work
from bench.trainer.figures import Bench, Figure, Share
from bench.trainer.head import inputs, one_pass, recomputed
from bench.trainer.machine import Clock, peak_bytes, resident_bytes
from bench.trainer.models import END, batch_of, make_tokenizer, model_folder, sums_text
from bench.trainer.order import Order, job_of
from bench.trainer.peer_loss import inputs_of
from bench.trainer.prompts import reward_of, rows_of
from bench.trainer.race import Race
from bench.trainer.table import lines_of
from bench.trainer.turns import Child, Facts
from bench.trainer.works import WORKS, Work, work_named
from espo_contracts.events import Sample
from espo_core.trainer import RunInputs, Trainer
from espo_core.verifiers import build_reward, score_all
from tests.espo_core.tiny import save_tiny_model

SMALL = replace(
    work_named("a2"),
    prompts=2,
    group=2,
    max_new_tokens=4,
    mini_batches=2,
    compiled=False,  # takes half a minute
    warm_up=1,
    rounds=2,
)
OF_CHARACTERS = [work for work in WORKS if work.model != "smollm2"]


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """A small work on a tiny model."""
    rows = tmp_path / "prompts.jsonl"
    asked = [{"prompt": f"{number}+{number}=", "answer": ""} for number in range(8)]
    rows.write_text("".join(f"{row}\n".replace("'", '"') for row in asked), encoding="utf-8")
    model = save_tiny_model(tmp_path / "model")
    return Order(work=SMALL, model=model, rows=rows, scratch=tmp_path, core=0)


@pytest.mark.parametrize("work", OF_CHARACTERS, ids=lambda work: str(work.name))
def test_prompts_have_the_tokens_that_the_work_says_and_none_is_asked_twice(work: Work) -> None:
    rows, tokenizer = rows_of(work), make_tokenizer()
    lengths = {len(ids) for ids in tokenizer([row["prompt"] for row in rows])["input_ids"]}
    assert lengths == {work.prompt_tokens}
    assert len({row["prompt"] for row in rows}) == len(rows) >= (work.warm_up + work.rounds) * work.prompts


def test_refuses_rounds_for_which_there_are_no_distinct_prompts() -> None:
    with pytest.raises(SystemExit, match="360 distinct prompts: ask for fewer rounds"):
        rows_of(replace(work_named("a3"), rounds=1000))


def test_random_responses_of_one_length_differ_in_reward() -> None:
    """Without contrast a group would not be trained on, and the two sides would not do the same work."""
    work, symbols = work_named("a"), list(make_tokenizer().get_vocab())[1:]
    verifiers, random = build_reward([reward_of(work)]), Random(0)
    texts = ["".join(random.choices(symbols, k=24)) for _ in range(200)]
    rewards = [score_all(verifiers, text, {}).reward for text in texts]
    assert statistics.stdev(rewards) > 0.03
    assert max(map(rewards.count, rewards)) < 0.4 * len(rewards)


def test_a_sum_is_right_whatever_the_context() -> None:
    for row in rows_of(replace(work_named("a4n"), rounds=1)):
        one, other = row["prompt"][-6:-1].split("+")
        assert row["answer"] == str(int(one) + int(other))


def test_only_answers_and_their_ends_are_learnt() -> None:
    text = "12+03=15;40+05=45=40+05;"
    batch = batch_of([text])
    learnt = "".join(symbol for symbol, label in zip(text, batch["labels"][0], strict=True) if label >= 0)
    assert learnt == "15;45=40+05;"
    assert sums_text(Random(1), length=40).endswith(END)


def test_trains_on_the_prompts_in_the_order_that_the_peer_is_given(order: Order) -> None:
    spec = job_of(SMALL)
    schedule = spec.schedule.model_copy(update={"steps": 2, "samples_per_step": 2})
    spec = spec.model_copy(update={"schedule": schedule})
    events: list[object] = []
    work_dir = order.scratch / "run"
    Trainer(
        RunInputs(spec=spec, work_dir=work_dir, model=order.model, data_file=order.rows), events.append
    ).run()
    samples = [event for event in events if isinstance(event, Sample)]
    assert [one.prompt for one in samples[:: SMALL.group]] == [row["prompt"] for row in order.asked()[:4]]


def test_a_child_does_a_rollout_a_turn_with_as_many_updates_and_tokens_as_it_should(order: Order) -> None:
    with Child(order.document("ours"), order.scratch / "log") as child:
        assert child.heard()["parameters"] > 0
        for _ in range(2):
            facts = child.turn()
            assert facts["tokens"] == SMALL.responses * SMALL.max_new_tokens
            assert facts["updates"] == SMALL.mini_batches
            assert 0 < facts["update_seconds"] < facts["wall"]


def test_a_child_that_dies_tells_why(order: Order) -> None:
    wrong = replace(order, model=order.scratch / "nowhere")
    with (
        Child(wrong.document("ours"), order.scratch / "log") as child,
        pytest.raises(SystemExit, match="ModelError"),
    ):
        child.heard()


def test_clocks_tell_work_from_waiting_and_peaks_stay() -> None:
    clock, before = Clock.now(), resident_bytes()
    big = torch.ones(20_000_000)
    del big
    seconds = clock.since()
    assert seconds["cpu"] > 0
    assert seconds["wall"] > 0
    assert peak_bytes() >= before + 60_000_000


def test_both_of_our_ways_through_the_head_give_the_same_gradients() -> None:
    gradients = []
    for side in (one_pass, recomputed):
        states, weight, tokens = inputs(tokens=128, vocabulary=50, hidden=8)
        side(states, weight, tokens)
        gradients.append((states.grad, weight.grad))
    torch.testing.assert_close(*gradients)


def test_the_peer_reads_prompts_padded_on_the_left_and_responses_on_the_right() -> None:
    fixed = {
        "prompts": [[5], [6, 7]],
        "responses": [[1, 2, 3], [4]],
        "old_logprobs": [[-0.1, -0.2, -0.3], [-0.4]],
        "advantages": [1.0, -1.0],
    }
    read = inputs_of(fixed, pad=0)
    assert read["prompt_ids"].tolist() == [[0, 5], [6, 7]]
    assert read["prompt_mask"].tolist() == [[0, 1], [1, 1]]
    assert read["completion_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert read["completion_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert read["num_items_in_batch"] == 4


def _facts(**changes: float) -> Facts:
    same = {"parameters": 10, "updates": 4, "tokens": 96, "peak_bytes": 2e9, "wall": 1.0, "cpu": 1.0}
    return {**same, **changes}


def test_unequal_tokens_are_told_where_lengths_are_forced_and_only_there(order: Order) -> None:
    race = Race(ours=[_facts(), _facts(tokens=95)], peer=[_facts(), _facts()])
    assert [check.what for check in same_work(order, race) if not check.is_equal] == ["tokens"]
    natural = replace(order, work=replace(SMALL, is_forced=False))
    assert all(check.is_equal for check in same_work(natural, race))


def test_the_processors_time_decides_and_memory_where_it_is_bounded() -> None:
    race = Race(ours=[_facts(), _facts(wall=50.0)], peer=[_facts(cpu=3.0), _facts(cpu=3.0)])
    figure = Figure(name="x", title="a work", race=race, reach=2.0)
    assert figure.is_reached()
    assert not replace(figure, reach=3.5).is_reached()
    assert not replace(figure, memory_reach=0.8).is_reached()
    lines = list(lines_of([figure], [Share(name="x", objective=0.01, step=1.0)]))
    assert "| (x) a work | 1 | 25.5 | 0.51 | 3.00 | 2: reached | 2.00 GB, 2.00 GB | 1 |" in lines
    assert any("10.00 ms of a step of (x), 1.00% (reach 3%: reached)" in line for line in lines)


def test_the_objectives_share_is_of_the_step_that_is_given(order: Order) -> None:
    bench = Bench(folder=order.scratch, core=0, say=print, rounds=None)
    share = bench.share(order, step_seconds=10.0)
    assert share.step == 10.0
    assert 0 < share.share < 0.03


def test_models_are_made_once(tmp_path: Path) -> None:
    folder = model_folder("hidden-128", tmp_path)
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert model_folder("hidden-128", tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made


def test_the_flops_of_an_update_count_a_prompt_once() -> None:
    config = {"name": "x", "bytes": 1, "architecture": None, "created_at": 0.0, "adapter_widths": {}}
    widths = {"layers": 1, "intermediate": 10, "query_width": 10, "key_width": 10}
    facts = ModelFacts(parameters=1_100, vocabulary=10, hidden=10, is_tied=True, **config, **widths)
    work = replace(gpu.WORK, prompts=2, group=3, prompt_tokens=5, max_new_tokens=7)
    assert gpu.update_flops(work, facts) == 6 * (1_000 * (2 * 5 + 6 * 7) + 100 * 6 * 7)


def test_knows_the_cards_and_refuses_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.card_tflops("NVIDIA H100 80GB HBM3") == 989.0
    assert gpu.card_tflops("NVIDIA H100 PCIe") == 756.0
    assert gpu.card_tflops("a card of tomorrow") is None
    monkeypatch.setattr("sys.argv", ["bench.trainer.gpu"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        gpu.main()
