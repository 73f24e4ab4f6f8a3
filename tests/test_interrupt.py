"""Ctrl-C in a notebook, at any moment: the kernel lives, the history is kept, and the run goes on."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import Reached, measured
from tests.short_runs import Run, digest

ROOT = Path(__file__).resolve().parent.parent

SETUP = """
import torch
from gan_helpers import Checkpointing
from tests.short_runs import Run, digest
torch.set_num_threads(1)
"""
CELL = """
history = None
run = Run.of("fifty_lines.repaired")
open({begun!r}, "w").close()
history = run.train({steps}, checkpoint=Checkpointing({path!r}, every=20))
"""


class Kernel:
    """A kernel as a notebook has it."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        os.environ["IPYTHONDIR"] = str(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=environment, cwd=str(folder))

    def wait(self, cell: str) -> dict[str, Any]:
        """Return the reply to a cell that was sent; ``values`` are those of the expressions."""
        while (message := self.client.get_shell_msg(timeout=120))["parent_header"].get("msg_id") != cell:
            pass
        content = message["content"]
        found = content.get("user_expressions") or {}
        return content | {"values": {k: v.get("data", {}).get("text/plain") for k, v in found.items()}}

    def run(self, code: str, **expressions: str) -> dict[str, Any]:
        """Run a cell to its end."""
        reply = self.wait(self.client.execute(code, user_expressions=expressions))
        # Right after an error a kernel turns down what is in its queue.
        return self.run(code, **expressions) if reply["status"] == "aborted" else reply


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = Kernel(tmp_path)
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("ignore")  # those of the notebook's machinery are not ours
@measured("interrupt", "SIGINT at random moments of a training in a live kernel", fast=3, slow=100)
def test_an_interrupted_notebook_goes_on(
    effort: int, reached: Reached, kernel: Kernel, tmp_path: Path
) -> None:
    steps, chance = 300 + 60 * effort, random.Random(effort)
    whole = Run.of("fifty_lines.repaired")
    whole.train(steps)
    expected = digest(whole.left())
    assert kernel.run(SETUP)["status"] == "ok"
    path, begun = tmp_path / "run", tmp_path / "begun"
    cell = CELL.format(steps=steps, path=str(path), begun=str(begun))
    seen = {"history": 0, "KeyboardInterrupt": 0, "complete": 0}
    last = 0
    for i in range(effort):
        begun.unlink(missing_ok=True)
        started = kernel.client.execute(cell)
        while i % 4 and not begun.exists():  # three in four come while it trains
            time.sleep(0.002)
        time.sleep(chance.random() * 0.2)
        kernel.manager.interrupt_kernel()
        reply = kernel.wait(started)
        after = kernel.run(
            "", answer="6 * 7", made="history and history.steps", on="history and history.interrupted"
        )["values"]
        assert after["answer"] == "42", "the kernel is usable"
        if reply["status"] == "error":
            assert reply["ename"] == "KeyboardInterrupt", reply
            seen["KeyboardInterrupt"] += 1
            continue
        assert int(after["made"]) >= last, "what was done is not lost"
        last = int(after["made"])
        seen["history" if after["on"] == "True" else "complete"] += 1
        if after["on"] == "False":
            assert kernel.run("", end="digest(run.left())")["values"]["end"].strip("'") == expected
            path.unlink()
            last = 0
    ended = kernel.run(cell, end="digest(run.left())")
    assert ended["status"] == "ok" and ended["values"]["end"].strip("'") == expected
    assert seen["history"] > 0
    reached(
        f"{effort} of {effort}: {seen['history']} ended a training and kept its history, "
        f"{seen['KeyboardInterrupt']} came before it, {seen['complete']} after it; the end is bit-equal"
    )
