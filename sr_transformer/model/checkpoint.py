"""Models on disk: safetensors files whose metadata say what they are."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sr_transformer.errors import CheckpointError, shown
from sr_transformer.files import write_atomically
from sr_transformer.model.transformer import ModelConfig, Transformer
from sr_transformer.model.vocabulary import Vocabulary

WEIGHTS = Path(str(resources.files("sr_transformer.model") / "weights")).resolve()
"""Where the checkpoints lie that come with the package."""

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
        ``validation``, ``date``, ``licence``, ``format_version``, ``checksum`` (of the weights).
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
    metadata["checksum"] = _checksum(tensors)
    text = {key: json.dumps(value) for key, value in metadata.items()}
    write_atomically(path, save(tensors, metadata=text))


def embedded_checkpoints() -> dict[str, dict[str, Any]]:
    """Read the index of the checkpoints that come with the package.

    Returns
    -------
    dict
        By name: ``file``, ``sha256``, ``for`` (what it was made for), ``examples`` (seen).
    """
    return json.loads((WEIGHTS / "index.json").read_text(encoding="utf-8"))


def checkpoint_path(checkpoint: str | Path = "default") -> Path:
    """Path of a checkpoint that is given by its name in the index, or by its path.

    Raises
    ------
    CheckpointError
        If there is no such file.
    """
    index = embedded_checkpoints()
    entry = index.get(str(checkpoint))
    path = WEIGHTS / entry["file"] if entry else Path(os.path.expanduser(checkpoint))
    if not os.path.isfile(path):  # unlike Path's, it says no to what can be no path
        raise CheckpointError(
            f"there is no checkpoint at {path}; give the path of a *.safetensors file, or the name "
            f"of one that comes with the package: {', '.join(index)}."
        )
    return path.resolve()


def weights_hash(path: Path) -> str:
    """Short hash of a checkpoint, by which measurements say what was measured."""
    return hashlib.blake2s(path.read_bytes(), digest_size=4).hexdigest()


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2s()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def load_model(checkpoint: str | Path = "default", device: str = "auto") -> LoadedModel:
    """Load a model; the second time it comes from memory.

    Parameters
    ----------
    checkpoint : str or Path, default="default"
        Name of a model that comes with the package, or the path of another one.
    device : str, default="auto"
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, holds weights that are not finite, or was made for
        another format.
    ValueError
        If there is no such device here.
    """
    path = checkpoint_path(checkpoint)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    _check_device(device)
    return _load(path, device, path.stat().st_mtime_ns)


def _check_device(device: str) -> None:
    """Raise ValueError unless numbers can be computed there."""
    try:
        torch.ones(1, device=device).item()
    except Exception as error:  # each backend of torch has its own ways to fail
        reason = str(error).strip().split("\n")[0][:150]
        raise ValueError(
            f"device is {shown(device)}, which cannot be used here ({reason}); allowed are 'auto', "
            "'cpu', and 'cuda' or 'cuda:1' and the like where there is a GPU."
        ) from error


@lru_cache(maxsize=4)
def _load(path: Path, device: str, _modified: int) -> LoadedModel:
    damaged = "it is damaged or another kind of file. Install, download or train it again."
    for entry in embedded_checkpoints().values():
        if path == WEIGHTS / entry["file"]:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != entry["sha256"]:
                raise CheckpointError(
                    f"the sha256 of {path} is {found}, not {entry['sha256']}: {damaged}"
                )
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); {damaged}"
        ) from error
    try:
        metadata = {key: json.loads(text) for key, text in texts.items()}
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
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path} holds nan or infinite weights in {name}; {damaged}")
    # Those that came with the package are checked as whole files.
    if "checksum" in metadata and metadata["checksum"] != _checksum(tensors):
        raise CheckpointError(f"the weights in {path} are not those that were written; {damaged}")
    vocabulary = Vocabulary(metadata["tokens"])
    try:
        sizes = {"n_tokens": len(vocabulary), "n_columns": metadata["columns"]}
        weights = {name: tensor.float() for name, tensor in tensors.items()}
        network = Transformer.holding(ModelConfig(**metadata["config"], **sizes), weights)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit the sizes in its metadata: {error}"
        ) from error
    return LoadedModel(network.to(device), vocabulary, metadata, path)
