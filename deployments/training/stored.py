"""Tensors and what is to be known of them in one safetensors file, written as a whole or not at all.

Nothing is unpickled: a file is numbers and text, whoever wrote it. A digest finds damage, not malice.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from accounting.values import InvalidValueError

ABOUT = "about"
DIGEST = "sha256"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes or replaces the file. Who reads it meanwhile sees the old one or the new one.

    Args:
        path: Where to; its folder must be there.
        tensors: By name.
        about: Plain JSON.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    data = save(kept, metadata={ABOUT: text, DIGEST: _digest(kept, text)})
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # The new name, too, outlives a power cut.
        os.fsync(folder)
    finally:
        os.close(folder)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `write_tensors` wrote.

    Args:
        path: Of the file.
        kind: What its `about` must say under "kind".

    Raises:
        InvalidValueError: If it is not there, damaged, or of another kind.
    """
    if not path.is_file():
        raise InvalidValueError("path", f"{path.name} is not there")
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError):
        raise InvalidValueError("path", f"{path.name} is no whole safetensors file") from None
    text = said.get(ABOUT, "")
    if said.get(DIGEST) != _digest(tensors, text):
        raise InvalidValueError("path", f"{path.name} is damaged: its content has another digest")
    about = json.loads(text)
    if about.get("kind") != kind:
        raise InvalidValueError("path", f"{path.name} is no {kind}")
    return tensors, about


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
