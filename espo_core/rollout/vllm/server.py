"""vLLM as a server of the operator's, which reads each step's weights from a folder.

The server runs in development mode, for weights are loaded by an endpoint that is not there otherwise, and
asks for no key: it belongs on a network that only its worker reaches. The weights travel as safetensors; the
faster ways of vLLM unpickle what they are sent, or join the two programs in one NCCL group.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from pydantic import BaseModel, JsonValue, ValidationError
from transformers import PreTrainedModel

from espo_core.errors import ConfigError, EspoError
from espo_core.rollout.vllm.wording import Answer, Question

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 3600.0  # of one prompt, or one loading of weights; the job's own limit is max_hours
PROMPTS_AT_ONCE = 64
MAX_REPLY = 256 << 20  # bytes
Body = dict[str, JsonValue]
HINT = "The operator of the worker looks into the vLLM server's log; or leave rollout.engine native."


class _Logprobs(BaseModel):
    token_logprobs: list[float]


class _Choice(BaseModel):
    index: int
    token_ids: list[int]
    logprobs: _Logprobs
    finish_reason: str


class _Completion(BaseModel):
    """The part of a completion that we read."""

    choices: list[_Choice]

    def answers(self) -> list[Answer]:
        """In the order of their seeds."""
        return [
            Answer(tokens=one.token_ids, logp=one.logprobs.token_logprobs, ending=one.finish_reason)
            for one in sorted(self.choices, key=lambda one: one.index)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A vLLM server."""

    url: str
    folder: Path
    """Where it finds weights."""

    def load(self, model: PreTrainedModel) -> None:
        """Writes the weights into a folder that lasts until they are read."""
        with tempfile.TemporaryDirectory(prefix="espo-weights-", dir=self.folder) as place:
            model.save_pretrained(place)
            asked: Body = {"method": "reload_weights", "kwargs": {"weights_path": place}}
            with _client(self.url) as client:
                _post(client, "/collective_rpc", asked)
                _post(client, "/reset_prefix_cache", {})

    def answers(self, asked: Sequence[Question]) -> list[list[Answer]]:
        """The responses to each prompt."""
        with _client(self.url) as client, ThreadPoolExecutor(PROMPTS_AT_ONCE) as pool:
            return list(pool.map(partial(_answered, client), asked))


def server_at(url: str, folder: Path) -> Server:
    """The server at an address.

    Raises:
        ConfigError: nobody is there.
    """
    try:
        with _client(url) as client:
            client.get("/health", timeout=CONNECT_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise ConfigError(
            f"rollout.engine is vllm, but this worker's vLLM server is not ready: {type(error).__name__}",
            hint="The operator starts the worker's server at ESPO_VLLM_URL; or leave rollout.engine native.",
        ) from error
    return Server(url=url, folder=folder)


def _client(url: str) -> httpx.Client:
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    # No proxy of the environment's: the server is on a private network.
    return httpx.Client(base_url=url, timeout=timeout, trust_env=False)


def _answered(client: httpx.Client, asked: Question) -> list[Answer]:
    body: Body = {"prompt": list(asked.prompt), "return_token_ids": True}
    reply = _post(client, "/v1/completions", body | asked.arguments)
    try:
        return _Completion.model_validate_json(reply).answers()
    except ValidationError:
        raise EspoError("the vLLM server's answer is no completion with tokens", hint=HINT) from None


def _post(client: httpx.Client, path: str, body: Body) -> bytes:
    try:
        with client.stream("POST", path, json=body) as response:
            reply = _bounded(response)
    except httpx.HTTPError as error:
        raise EspoError(f"the vLLM server failed at {path}: {type(error).__name__}", hint=HINT) from error
    if response.status_code != httpx.codes.OK:
        said = reply[:500].decode(errors="replace")
        raise EspoError(f"the vLLM server refused {path} ({response.status_code}): {said}", hint=HINT)
    return reply


def _bounded(response: httpx.Response) -> bytes:
    """The body of a reply.

    Raises:
        EspoError: it is beyond all that a completion can take.
    """
    reply = bytearray()
    for piece in response.iter_bytes():
        reply += piece
        if len(reply) > MAX_REPLY:
            raise EspoError(f"the vLLM server's reply is over {MAX_REPLY} bytes", hint=HINT)
    return bytes(reply)
