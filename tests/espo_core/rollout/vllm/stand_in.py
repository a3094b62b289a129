"""A server that speaks the part of vLLM's protocol that we use, over a real socket; our own engine is behind.

It knows no more fields of a completion than `CompletionRequest` has, and loads only safetensors that fit.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from espo_contracts.spec import ModelSpec
from espo_core.policy import load_policy
from espo_core.rollout.engine import Rollout, Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.rollout.vllm.wording import PLAIN

FIELDS = {
    "prompt",
    "return_token_ids",
    "n",
    "max_tokens",
    "min_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
}
FIELDS |= {"stop", "stop_token_ids", "ignore_eos", "logprobs", *PLAIN}


class StandIn:
    """Serves a model folder."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self.policy = load_policy(ModelSpec(name="x"), folder=folder, device=torch.device("cpu"), seed=0)
        self.loaded = 0
        self.cache_is_stale = False
        self.seeds: list[int] = []
        self.instead: dict[str, tuple[int, bytes]] = {}
        """What it says at a path instead of doing it: a status and a body."""

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of the reply to a request."""
        if path in self.instead:
            return self.instead[path]
        answers = {
            "/health": self._healthy,
            "/v1/completions": self._complete,
            "/collective_rpc": self._call,
            "/reset_prefix_cache": self._reset,
        }
        with self._lock:
            return 200, json.dumps(answers[path](body)).encode()

    def _healthy(self, body: dict[str, Any]) -> None:
        """Nothing."""

    def _reset(self, body: dict[str, Any]) -> dict[str, Any]:
        self.cache_is_stale = False
        return {"success": True}

    def _call(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["method"] == "reload_weights"
        weights = load_file(Path(body["kwargs"]["weights_path"]) / "model.safetensors")
        missing, unexpected = self.policy.model.load_state_dict(weights, strict=False)
        assert set(missing) <= {"lm_head.weight"}
        assert not unexpected
        self.loaded, self.cache_is_stale = self.loaded + 1, True
        return {"results": [None]}

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body.keys() <= FIELDS, body.keys() - FIELDS
        assert body["return_token_ids"]
        assert body["ignore_eos"]
        assert set(body["stop_token_ids"]) == set(self.policy.eos_ids)
        assert not self.cache_is_stale
        self.seeds.append(body["seed"])
        return {"id": "cmpl-1", "choices": [*choices(self._sampled(body))][::-1]}

    def _sampled(self, body: dict[str, Any]) -> Rollout:
        is_greedy = body["temperature"] == 0
        sampling = Sampling(
            responses=body["n"],
            max_new_tokens=body["max_tokens"],
            min_new_tokens=body["min_tokens"],
            temperature=1.0 if is_greedy else body["temperature"],
            top_p=body["top_p"],
            top_k=body["top_k"],
            stop=tuple(body["stop"]),
            is_greedy=is_greedy,
        )
        return NativeEngine(policy=self.policy).generate([body["prompt"]], sampling, seed=body["seed"])


def choices(rollout: Rollout) -> Iterator[dict[str, Any]]:
    """Yields the responses as a completion has them."""
    logp = iter(rollout.logp.tolist())
    for index, tokens in enumerate(rollout.split()):
        yield {
            "index": index,
            "text": "",
            "token_ids": tokens,
            "logprobs": {"token_logprobs": [next(logp) for _ in tokens], "tokens": []},
            "finish_reason": "length" if rollout.is_truncated[index] else "stop",
        }


class _Threading(ThreadingHTTPServer):
    request_queue_size = 128  # prompts come at once


@contextlib.contextmanager
def serving(stand_in: StandIn) -> Iterator[str]:
    """The address at which it answers, for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            try:
                status, said = stand_in.reply(self.path, body)
            except AssertionError as error:
                status, said = 400, str(error).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = _Threading(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
