"""Progress bars, and whether a person is there to see them."""

from __future__ import annotations

import sys
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where there are no widgets it says so, and draws with letters
    from tqdm.auto import tqdm

__all__ = ["someone_is_watching", "tqdm"]


def someone_is_watching() -> bool:
    """Tell whether a person sees the output as it appears: at a terminal, or in a notebook that is open.

    A notebook that a program executes says that no one can answer a question (``allow_stdin``). There a
    bar would only end up in the stored outputs, so none is drawn.
    """
    kernel: Any = getattr(_shell(), "kernel", None)
    if not hasattr(kernel, "get_parent"):  # no notebook, or one that does not say who listens
        return sys.stderr.isatty()
    request = kernel.get_parent("shell")
    return bool(request.get("content", {}).get("allow_stdin", False))


def _shell() -> object | None:
    """Return the IPython shell that runs this code, without importing IPython where it is not in use."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
