"""docker-compose.yml as it runs: `make test-compose` starts it and names it in ESPO_TEST_COMPOSE."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from espo_client.client import EspoClient
from espo_client.records import JobDetail

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = shlex.split(os.environ.get("ESPO_TEST_COMPOSE", ""))
STEPS = 350
"""Of examples/quickstart.yaml."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMPOSE, reason="no stack: make test-compose starts one and runs this"),
]


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMPOSE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def docker(*arguments: str) -> list[str]:
    """The words that the engine answers."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()


def inside(service: str, command: str) -> subprocess.CompletedProcess[str]:
    """A shell command run in the service's container, as its user."""
    return compose("exec", "-T", service, "sh", "-c", command)


def wait_until(claim: Callable[[], bool], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, (
            f"not within {seconds} s: {what}\n{compose('logs', '--tail=40').stdout}"
        )
        time.sleep(0.2)


def base_url() -> str:
    port = compose("port", "api", "8000").stdout.strip()
    assert port, compose("ps").stdout
    return f"http://{port}"


def wait_ready() -> None:
    def is_ready() -> bool:
        try:
            answer = httpx.get(f"{base_url()}/readyz", timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["status"] == "ok"

    wait_until(is_ready, seconds=120, what="the API is ready, with database, store and Redis")


@pytest.fixture(scope="module")
def client() -> Iterator[EspoClient]:
    """A client with a key made as the README says."""
    wait_ready()
    made = inside("api", "python -m api.auth create --project default --scopes read,write,admin --name test")
    assert made.returncode == 0, made.stderr
    with EspoClient(base_url(), made.stdout.split()[-1]) as client:
        yield client


def submit(client: EspoClient, example: str, **schedule: int) -> str:
    """A job of the examples, with another schedule if one is given."""
    document = yaml.safe_load((ROOT / "examples" / example).read_text())
    if schedule:
        document["schedule"] = schedule
    return client.submit(document).id


def finish(client: EspoClient, job: str, *, seconds: float) -> JobDetail:
    wait_until(lambda: client.get(job).status.is_terminal, seconds=seconds, what=f"{job} ends")
    return client.get(job)


def trained_steps(client: EspoClient, job: str) -> list[int]:
    return client.metrics(job, names=["policy/loss"])["policy/loss"].steps


@pytest.fixture(scope="module")
def job(client: EspoClient) -> str:
    """The quickstart job, gone through."""
    job = submit(client, "quickstart.yaml")
    done = finish(client, job, seconds=1500)
    assert done.status == "succeeded", done.error
    return job


def test_the_quickstart_job_goes_through_and_makes_its_model_better(client: EspoClient, job: str) -> None:
    assert trained_steps(client, job) == list(range(1, STEPS + 1))
    curves = client.metrics(job, names=["held_out/greedy_low", "held_out/greedy_high"])
    before, after = curves["held_out/greedy_high"].values[0], curves["held_out/greedy_low"].values[-1]
    assert before is not None
    assert after is not None
    assert after > before, "the two 95 % intervals overlap"


def test_its_model_can_be_downloaded_and_loaded(client: EspoClient, job: str, tmp_path: Path) -> None:
    assert client.download(job, tmp_path / "model").step == STEPS
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model(**tokenizer("2 6 8 4>08:", return_tensors="pt")).logits.isfinite().all()


def test_a_killed_worker_comes_back_and_its_job_goes_on(client: EspoClient) -> None:
    long = submit(client, "countdown3.yaml", steps=60, checkpoint_every=10)
    wait_until(lambda: client.get(long).progress.step >= 12, seconds=120, what="step 12")
    inside("worker-cpu", "kill -KILL $(cat /proc/1/task/1/children)")  # the engine starts it again
    done = finish(client, long, seconds=400)
    assert done.status == "succeeded", done.error
    assert done.attempt == 2
    assert trained_steps(client, long) == list(range(1, 61))


@pytest.mark.parametrize("service", ["api", "worker-cpu", "postgres", "redis"])
def test_nobody_is_root_and_no_root_file_system_can_be_written(service: str) -> None:
    assert inside(service, "id -u").stdout.strip() not in {"", "0"}
    assert "Read-only file system" in inside(service, "touch /etc/x").stderr
    assert (
        inside(service, "grep -E '^Cap(Prm|Eff|Bnd):' /proc/self/status").stdout.split()[1::2]
        == ["0" * 16] * 3
    )
    assert inside(service, "grep NoNewPrivs /proc/self/status").stdout.split() == ["NoNewPrivs:", "1"]


def test_a_worker_has_no_database_secret_and_reaches_redis_only() -> None:
    assert inside("worker-cpu", "env | grep -iE 'postgres|database'").stdout == ""
    assert can_connect("redis", 6379)
    assert not can_connect("postgres", 5432)
    (worker,) = compose("ps", "-q", "worker-cpu").stdout.split()
    networks = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.NetworkID}} {{end}}", worker)
    assert docker("network", "inspect", "-f", "{{.Internal}}", *networks) == ["true"], "a way out"


def can_connect(service: str, port: int) -> bool:
    """Whether the worker's container gets a connection to the address of another."""
    address = inside(service, "hostname -i").stdout.split()[0]
    program = f"import socket; socket.create_connection(('{address}', {port}), 3)"
    return inside("worker-cpu", f'python -c "{program}"').returncode == 0


def test_the_api_image_has_no_torch() -> None:
    assert "No module named 'torch'" in inside("api", "python -c 'import torch'").stderr


def test_redis_wants_its_password_and_is_bounded_without_evicting() -> None:
    assert "NOAUTH" in inside("redis", "env -u REDISCLI_AUTH redis-cli ping 2>&1").stdout
    asked = inside(
        "redis", "redis-cli config get 'maxmemory*'; redis-cli config get appendonly"
    ).stdout.split()
    settings = dict(zip(asked[::2], asked[1::2], strict=True))
    assert settings["maxmemory"] == str(256 << 20)
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["appendonly"] == "yes"
    assert "requirepass" not in inside("redis", "cat /proc/[0-9]*/comm").stdout


def test_every_container_is_healthy() -> None:
    def are_healthy() -> bool:
        ids = compose("ps", "-q", "api", "worker-cpu", "postgres", "redis").stdout.split()
        return docker("inspect", "-f", "{{.State.Health.Status}}", *ids) == ["healthy"] * 4

    wait_until(are_healthy, seconds=90, what="four healthy containers")


def test_everything_is_there_after_all_containers_were_made_anew(client: EspoClient, job: str) -> None:
    assert compose("down").returncode == 0
    restarted = compose("up", "-d", "api", "worker-cpu")
    assert restarted.returncode == 0, restarted.stderr
    wait_ready()
    assert client.get(job).status == "succeeded"
    assert client.checkpoint(job).step == STEPS
    again = finish(client, submit(client, "countdown3.yaml", steps=3), seconds=200)
    assert again.status == "succeeded", again.error
