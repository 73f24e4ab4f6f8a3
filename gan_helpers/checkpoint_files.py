"""The file of a checkpoint: tensors by name and a description of their run, in the format safetensors.

Nothing in it can be executed. A SHA-256 digest over the whole file finds every flipped bit.

References:
    The format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from gan_helpers.states import CheckpointError, State

FORMAT = "gan_helpers checkpoint, version 1"
MAX_HEADER = 2**22  # bytes; a thousand tensors need a hundredth of that
BLANK = "0" * 64  # stands in the place of the digest while it is computed
DIGEST = re.compile(rb'(?<="sha256":")[0-9a-f]{64}(?=")')
AFRESH = "Give another path, or delete the file to start afresh."


def read(path: Path, form: str = FORMAT) -> tuple[dict[str, str], State]:
    """Return what a file says about its run, and its tensors on the CPU.

    Args:
        path: the file.
        form: what it has to be; a checkpoint unless given.

    Raises:
        CheckpointError: if it is not that, or is damaged in any bit.
    """
    try:
        with path.open("rb") as file:
            header = _header(path, file)
            _refuse_another_form(path, header, form)
            file.seek(0)
            tensors = tensors_of(file.read())
        metadata = _strings(header["__metadata__"])
        return _strings(json.loads(metadata["run"])), tensors
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error}. Give another path.") from error
    except Exception as error:  # what a file that was made to look like a checkpoint can do is not known
        raise CheckpointError(f"{path} is not a checkpoint of gan_helpers ({error}). {AFRESH}") from error


def _header(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Return the header, whose digest is that of the file; a header that claims to be huge is not read."""
    size, prefix = os.fstat(file.fileno()).st_size, file.read(8)
    length = int.from_bytes(prefix, "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise CheckpointError(f"{path} is not a checkpoint of gan_helpers, or was cut short. {AFRESH}")
    header = file.read(length)
    claimed = DIGEST.findall(header)
    if len(claimed) != 1:
        raise CheckpointError(f"{path} is not a checkpoint of gan_helpers: it has no digest. {AFRESH}")
    digest = hashlib.sha256(prefix + DIGEST.sub(BLANK.encode(), header))
    while block := file.read(2**20):
        digest.update(block)
    if digest.hexdigest() != claimed[0].decode():
        raise CheckpointError(f"{path} is damaged: it is not what was written (SHA-256). {AFRESH}")
    found: dict[str, Any] = json.loads(header, object_pairs_hook=_without_twins)
    return found


def _refuse_another_form(path: Path, header: dict[str, Any], form: str) -> None:
    if (found := header["__metadata__"]["format"]) == form:
        return
    what = form.rpartition(", ")[0]
    if found.startswith(what):
        raise CheckpointError(f"{path} was written by another version of gan_helpers. {AFRESH}")
    raise CheckpointError(f"{path} is a file of another kind, {found}: {what} is needed. {AFRESH}")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name appears twice in its header")
    return dict(pairs)


def _strings(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("it does not describe its run")
    return found


def packed(tensors: State, run: Mapping[str, str], form: str = FORMAT) -> bytes:
    """Return the bytes of a file, digest included.

    Args:
        tensors: on the CPU, by name.
        run: what is fixed about the run, by name.
        form: what it is; a checkpoint unless given.

    Raises:
        SafetensorError: if tensors have no form in a file.
    """
    metadata = {"format": form, "run": json.dumps(run), "sha256": BLANK}
    blank = bytes_of(tensors, metadata)
    return DIGEST.sub(hashlib.sha256(blank).hexdigest().encode(), blank, count=1)
