"""The trainer beside TRL's GRPOTrainer on the same work: `python -m bench.trainer`."""
