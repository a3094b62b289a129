"""Which prompts are asked, and which of their responses are trained on."""
