"""`python -m espo_client` is the `espo` command."""

from espo_client.cli import app

app(prog_name="espo")
