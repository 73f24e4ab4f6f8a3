"""No broken or hostile file is believed as a checkpoint, and nothing in one is executed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from gan_helpers import checkpoint_files
from gan_helpers.checkpoint_files import read
from gan_helpers.states import CheckpointError
from tests.reliability import Reached, measured
from tests.short_runs import RECIPES, Run, copied, differing, small, stopped_after

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("intact") / "run"
    with stopped_after(2):
        Run(small(), 2).train(checkpoint=path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def victim() -> Run:
    return Run(small(), 2)


def refused(victim: Run, path: Path, content: bytes, match: str = ".") -> None:
    """Check that train refuses a file, and that it changes neither networks nor file."""
    path.write_bytes(content)
    before = copied(victim.G.state_dict())
    with pytest.raises(CheckpointError, match=match) as caught:
        victim.train(checkpoint=path)
    assert re.search("another path|that run", str(caught.value)), "it says the way out"
    assert differing(before, victim.G.state_dict()) == [] and not victim.d_opt.state
    assert path.read_bytes() == content and len(list(path.parent.iterdir())) == 1


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["TRAP"],))


@measured("hostile checkpoint", "pickles, with and without the container of torch.save", fast=1, slow=1)
def test_a_pickle_is_not_executed(
    effort: int, reached: Reached, victim: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = path.parent.parent / f"{path.parent.name}-trap"
    monkeypatch.setenv("TRAP", str(trap))
    torch_file = io.BytesIO()
    torch.save({"G": Trap()}, torch_file)
    contents = [torch_file.getvalue(), *(pickle.dumps(Trap(), protocol) for protocol in range(6))]
    for content in contents:
        refused(victim, path, content, "is not a checkpoint of gan_helpers")
        refused(victim, path, len(content).to_bytes(8, "little") + content, "not a checkpoint")
    assert not trap.exists()
    reached(f"{2 * len(contents)} of {2 * len(contents)} refused, nothing executed")


@measured("hostile checkpoint", "a file cut short, at every kind of place", fast=15, slow=400)
def test_a_truncated_file_is_refused(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path
) -> None:
    header = 8 + int.from_bytes(intact[:8], "little")
    edges = [0, 1, 7, 8, 9, header - 1, header, header + 1, len(intact) - 1]
    chance = random.Random(0)
    lengths = [*edges, *(chance.randrange(len(intact)) for _ in range(effort - len(edges)))]
    for length in lengths:
        refused(victim, path, intact[:length])
    refused(victim, path, intact + b"\0", "damaged")
    refused(victim, path, intact[:header] + bytes(len(intact) - header), "damaged")
    reached(f"{len(lengths)} of {len(lengths)} refused")


@measured("hostile checkpoint", "one bit flipped, anywhere in the file", fast=60, slow=1_000)
def test_every_flipped_bit_is_found(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path
) -> None:
    header = 8 + int.from_bytes(intact[:8], "little")
    chance = random.Random(1)
    for i in range(effort):
        place = chance.randrange(header if i % 2 else len(intact))
        flipped = bytearray(intact)
        flipped[place] ^= 1 << chance.randrange(8)
        refused(victim, path, bytes(flipped))
    reached(f"{effort} of {effort} found")


@measured("hostile checkpoint", "headers that claim up to 2^64 bytes", fast=1, slow=1)
def test_a_giant_header_is_not_read(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = [0, 1, 2**22 + 1, 2**31, 2**40, 2**63, 2**64 - 1]
    for claim in claims:
        refused(victim, path, claim.to_bytes(8, "little") + intact[8:], "not a checkpoint .*, or was cut")
    with path.open("wb") as file:  # as large as it says, and empty
        file.write((2**23).to_bytes(8, "little"))
        file.truncate(2**23 + 8)
    with pytest.raises(CheckpointError, match="not a checkpoint of gan_helpers, or was cut"):
        victim.train(checkpoint=path)
    nested = b"[" * 100_000
    refused(victim, path, len(nested).to_bytes(8, "little") + nested, "no digest")
    reached(f"{len(claims) + 2} of {len(claims) + 2} refused, nothing of that size allocated")


def digested(header: bytes, body: bytes = b"") -> bytes:
    """Return a file with any header that has a place for the digest, and the right one in it."""
    content = len(header).to_bytes(8, "little") + header + body
    digest = hashlib.sha256(content).hexdigest()
    return checkpoint_files.DIGEST.sub(digest.encode(), content, count=1)


#: What takes the place of a tensor.
FORGERIES: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "G/network.0.weight": lambda v: [torch.zeros(2, 3, 1), v.double()],
    "D/network.0.weight": lambda v: [v.long()],
    "d_opt/state/0/exp_avg": lambda v: [torch.zeros(())],
    "d_opt/group/0/lr": lambda v: [torch.zeros(3)],
    "history/made": lambda v: [torch.tensor(made) for made in (-1, 2**62, math.nan)],
    "history/d_loss": lambda v: [v[:1]],
    "history/at": lambda v: [torch.tensor([0, 99]), torch.tensor([2, 0])],
    "history/watched/spread": lambda v: [v[:1], torch.tensor(1.0)],
    "data_rng/generator": lambda v: [torch.zeros_like(v)],
    "noise_rng/generator": lambda v: [v[:16]],
    "G/dropout/generator": lambda v: [v.float()],
    "expected/losses": lambda v: [torch.zeros(3)],
    "chance/numpy": lambda v: [v - 10**6],  # out of its range
    "chance/python": lambda v: [v[1:]],
    "chance/torch": lambda v: [torch.zeros_like(v)],
    "average/updates": lambda v: [torch.zeros(2)],
}
#: Names that no checkpoint has.
MORE = ("", "H/weight", "G/network.9.weight", "d_opt/state/77/x", "d_opt/state/x/y/z", "d_opt/group/7/lr")


@measured(
    "hostile checkpoint", "wrong shapes, types, names and positions under a right digest", fast=1, slow=1
)
def test_a_forgery_with_a_right_digest_is_refused_and_nothing_is_changed(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path
) -> None:
    path.write_bytes(intact)
    run, tensors = read(path)
    forged = [(name, value) for name, forge in FORGERIES.items() for value in forge(tensors[name])]
    forged += [(name, torch.zeros(1)) for name in MORE]
    for name, value in forged:
        content = checkpoint_files.packed(tensors | {name: value}, run)
        refused(victim, path, content, "does not fit this run|which this run does not have")
    reached(f"{len(forged)} of {len(forged)} refused, nothing changed")


@measured("hostile checkpoint", "the file of each other recipe", fast=1, slow=len(RECIPES))
def test_the_file_of_another_recipe_is_refused(effort: int, reached: Reached, path: Path) -> None:
    names = list(RECIPES)[:3] if effort == 1 else list(RECIPES)
    for other in names:
        with stopped_after(1):
            Run.of(other).train(checkpoint=path)
        for name in (name for name in names if name != other):
            with pytest.raises(CheckpointError, match="of another run"):
                Run.of(name).train(checkpoint=path)
        path.unlink()
    reached(f"{len(names) * (len(names) - 1)} of {len(names) * (len(names) - 1)} refused")


BLANK = b'"sha256":"' + b"0" * 64 + b'"'
FORMAT = b'"format":' + json.dumps(checkpoint_files.FORMAT).encode()
RUNS = (b'"["', b'"[1]"', b"{}", b'"{}","run":"{}"')
MADE = b'{"__metadata__":{' + FORMAT + b',"run":"{}",' + BLANK  # up to what is wrong


@pytest.mark.parametrize(
    "header",
    [
        b"{" + BLANK + b"}",
        b'{"__metadata__":{"format":"another",' + BLANK + b"}}",
        b'{"__metadata__":{' + FORMAT + b"," + BLANK + b"}}",
        *(b'{"__metadata__":{' + FORMAT + b',"run":' + run + b"," + BLANK + b"}}" for run in RUNS),
        b'{"__metadata__":[' + BLANK[9:] + b"," + BLANK + b"]}",
        MADE + b"}}",
        MADE + b'},"a":1}',
        MADE + b'},"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}',
        MADE + b'},"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        b"{" + BLANK + b"," + BLANK + b"}",
        b"[" * 3_000 + BLANK,
        b'{"a":' + b"9" * 5_000 + b"," + BLANK + b"}",
        b"\xff\xfe" + BLANK,
    ],
)
def test_headers_made_by_hand_are_refused(header: bytes, path: Path, victim: Run) -> None:
    refused(victim, path, digested(header, bytes(4)))


def test_a_name_that_appears_twice_is_told(path: Path, victim: Run) -> None:
    header = MADE + b"}" + 2 * b',"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}' + b"}"
    refused(victim, path, digested(header, bytes(4)), "a name appears twice")


@given(content=st.binary(max_size=400))
def test_any_bytes_are_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    for hostile in (content, digested(content + BLANK)):
        path.write_bytes(hostile)
        with pytest.raises(CheckpointError):
            read(path)


def test_the_weights_of_someone_else_are_no_checkpoint(path: Path, victim: Run) -> None:
    refused(victim, path, safetensors_bytes({"weight": torch.zeros(3)}), "it has no digest")


# --- No pickle anywhere ----------------------------------------------------------------------------------

UNSAFE = re.compile(
    r"\b(?:c?pickle|cloudpickle|dill|joblib|shelve|marshal)\b|torch\.(?:load|save)\b|allow_pickle|(?<![\w.])(?:eval|exec)\("
)


def test_nothing_in_the_package_or_a_notebook_reads_what_could_be_executed() -> None:
    found = [*(ROOT / "gan_helpers").rglob("*.py"), *(ROOT / "book").glob("*.ipynb")]
    assert len(found) > 20
    for path in found:
        assert not (unsafe := UNSAFE.search(path.read_text(encoding="utf-8"))), f"{path}: {unsafe}"
