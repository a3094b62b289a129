"""Figures of the service and the trainer, measured here and now: `python -m bench --help`."""
