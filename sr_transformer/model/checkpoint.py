"""Models on disk: safetensors files whose metadata say what they are."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2s
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sr_transformer.errors import CheckpointError
from sr_transformer.model.transformer import ModelConfig, Transformer
from sr_transformer.model.vocabulary import Vocabulary

FORMAT_VERSION = "3"
"""Changes when files of the new kind cannot be read by code for the old one."""


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for use.

    Attributes
    ----------
    network : Transformer
        In evaluation mode.
    vocabulary : Vocabulary
    metadata : dict
        ``preset``, ``config`` (sizes), ``tokens``, ``vocabulary_hash``, ``columns`` and ``rows``
        (most that the network was made to read), ``examples_seen``, ``prior_version``,
        ``validation``, ``date``, ``licence``, ``format_version``.
    path : Path
    """

    network: Transformer
    vocabulary: Vocabulary
    metadata: dict[str, Any]
    path: Path

    @property
    def device(self) -> torch.device:
        """Where the network's weights lie."""
        return self.network.head.weight.device


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place in one step.

    Whoever reads ``path`` sees the old file or the whole new one, even after a power failure.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_model(
    network: Transformer,
    path: Path,
    *,
    vocabulary: Vocabulary,
    rows: int,
    preset: str,
    examples_seen: int,
    prior_version: str,
    validation: dict[str, float],
) -> None:
    """Write the network in half precision, with its metadata."""
    sizes = asdict(network.config)
    del sizes["n_tokens"]
    metadata = {
        "preset": preset,
        "columns": sizes.pop("n_columns"),
        "rows": rows,
        "config": sizes,
        "tokens": vocabulary.tokens,
        "vocabulary_hash": vocabulary.hash,
        "examples_seen": examples_seen,
        "prior_version": prior_version,
        "validation": validation,
        "date": datetime.date.today().isoformat(),
        "licence": "Apache-2.0",
        "format_version": FORMAT_VERSION,
    }
    tensors = {name: t.half().contiguous().cpu() for name, t in network.state_dict().items()}
    text = {key: json.dumps(value) for key, value in metadata.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=text))


def default_checkpoint() -> Path:
    """Path of the checkpoint that comes with the package.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    folder = Path(str(resources.files("sr_transformer.model") / "weights"))
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise CheckpointError(
            f"{folder} holds {len(found)} *.safetensors files; exactly one is the default model. "
            "Install the package again, or pass the path of a checkpoint."
        )
    return found[0]


def weights_hash(path: Path) -> str:
    """Short hash of a checkpoint, by which measurements say what was measured."""
    return blake2s(path.read_bytes(), digest_size=4).hexdigest()


def load_model(checkpoint: str | Path = "default", device: str = "auto") -> LoadedModel:
    """Load a model; the second time it comes from memory.

    Parameters
    ----------
    checkpoint : str or Path, default="default"
        ``"default"`` for the model that comes with the package, else a path.
    device : str, default="auto"
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or made for another vocabulary or format.
    """
    path = default_checkpoint() if str(checkpoint) == "default" else Path(checkpoint).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint at {path}; give the path of a *.safetensors file, or "
            '"default" for the model that comes with the package.'
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return _load(path.resolve(), device, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: Path, device: str, _modified: int) -> LoadedModel:
    try:
        with safe_open(path, framework="pt") as file:
            text = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); it is damaged or another kind of "
            "file. Download or train it again."
        ) from error
    metadata = _read_metadata(path, text)
    vocabulary = Vocabulary(metadata["tokens"])
    try:
        sizes = {"n_tokens": len(vocabulary), "n_columns": metadata["columns"]}
        network = Transformer(ModelConfig(**metadata["config"], **sizes))
        network.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit the sizes in its metadata: {error}"
        ) from error
    network.eval().requires_grad_(False)
    return LoadedModel(network.to(device), vocabulary, metadata, path)


def _read_metadata(path: Path, text: dict[str, str]) -> dict[str, Any]:
    try:
        metadata = {key: json.loads(value) for key, value in text.items()}
    except json.JSONDecodeError:
        metadata = {}
    version = metadata.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was made for file format {version!r}, this version of the package reads "
            f"{FORMAT_VERSION!r}. Use a checkpoint of this version, or the version that made it."
        )
    missing = {"config", "tokens", "columns", "rows", "format_version"} - metadata.keys()
    if missing:
        raise CheckpointError(
            f"{path} has no {', '.join(sorted(missing))} in its metadata: it was not written by "
            "`sr-transformer train`."
        )
    return metadata
