"""Our objectives against TRL's and verl's own functions: `python -m bench.peers`.

The peers are pinned in requirements-peers.lock and installed beside the environment, not into it.
"""
