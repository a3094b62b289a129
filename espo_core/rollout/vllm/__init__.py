"""Sampling by vLLM, in this process or from a server; written against vLLM 0.33.0, run with 0.32.0."""
