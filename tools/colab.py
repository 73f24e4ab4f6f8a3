"""Run the book's notebooks as a hosted service would: elsewhere, with its NumPy, and without the package.

Usage: python -m tools.colab [NOTEBOOK ...]

A service such as Colab opens a notebook alone, in an environment of its own. That is imitated here. The
environment `.venv-colab` has Colab's Python if it is on the path or GAN_BOOK_COLAB_PYTHON names it, NumPy 2,
torch and Matplotlib, and not `gan_helpers`. Each notebook is copied
into an empty folder, and its setup cell installs the package from a wheel that is built here. Its outputs
are compared with the stored ones, as the tests do. Then what the cell installed is taken away again, so that
the next chapter has to install for itself; nothing that was there before may have changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools import surroundings
from tools.notebooks import obstacle
from tools.sheets import ROOT, notebooks

ENVIRONMENT = ROOT / ".venv-colab"
SERIES = "3.13"  # of Colab's Python
# NumPy, torch and Matplotlib are of the series that Colab has. The others are pinned as in requirements.txt.
PLATFORM = [
    "numpy==2.1.3",
    "torch==2.11.0",
    "matplotlib==3.10.8",
    "scipy==1.17.1",
    "scikit-learn==1.9.1",
    "ipykernel==7.4.0",
    "ipywidgets==8.1.9",
]
KERNEL = "hosted"
CELL_TIMEOUT = 1_800  # seconds; a setup cell may download a lot


def python() -> Path:
    """Return the interpreter of the environment."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def platform_python() -> str:
    """Return the Python that GAN_BOOK_COLAB_PYTHON names, or Colab's if it is on the path, or this one."""
    if named := os.environ.get("GAN_BOOK_COLAB_PYTHON"):
        return named
    # A version manager can have a command of that name that only says where the Python would be.
    found = shutil.which(f"python{SERIES}")
    if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
        return found
    print(f"There is no python{SERIES}, which Colab has: GAN_BOOK_COLAB_PYTHON can name one.")
    return sys.executable


def version_of(base: str) -> str:
    """Return the version of a Python, with all that it says of itself."""
    command = [base, "-c", "import sys; print(sys.version)"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def pip(*arguments: str) -> str:
    """Run pip in the environment and return what it prints."""
    command = [str(python()), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def installed() -> dict[str, str]:
    """Return the version of each package of the environment."""
    return {package["name"]: package["version"] for package in json.loads(pip("list", "--format=json"))}


def make_environment() -> dict[str, str]:
    """Make the environment or bring it back to what it was, and return its packages.

    The file ``platform.json`` in it says what it was made from and what it then held. It is written last.
    """
    record = ENVIRONMENT / "platform.json"
    base = platform_python()
    made_from = [version_of(base), str(ENVIRONMENT), *PLATFORM]
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["made from"] == made_from:
            take_away(installed(), known["packages"])
            if installed() == known["packages"]:
                return known["packages"]
    print(f"Making {ENVIRONMENT.name} with {base}. The first time this downloads a lot.", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([base, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip("install", "-qq", *PLATFORM)
    packages = installed()
    record.write_text(json.dumps({"made from": made_from, "packages": packages}), encoding="utf-8")
    return packages


def take_away(now: dict[str, str], before: dict[str, str]) -> None:
    """Uninstall what has come since."""
    if added := sorted(set(now) - set(before)):
        pip("uninstall", "-qq", "--yes", *added)


def source_of_the_package(folder: Path) -> Path:
    """Copy what the package is built from into ``folder``, so that building leaves the checkout as it is."""
    source = folder / "source"
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gan_helpers", source / "gan_helpers", ignore=no_caches)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return source


def build_wheel(folder: Path) -> Path:
    """Build the package into ``folder`` and return the wheel."""
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"]
    source = source_of_the_package(folder)
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def kernel(folder: Path) -> Path:
    """Describe the environment's kernel in ``folder`` and return the path under which Jupyter finds it."""
    spec = {
        "argv": [str(python()), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "A hosted Python",
        "language": "python",
        "env": {"PYTHONPATH": ""},  # the checkout is out of reach
    }
    place = folder / "kernels" / KERNEL
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


def compared(notebook: Path, wheel: Path) -> subprocess.CompletedProcess[str]:
    """Run a copy of the notebook in an empty folder, and compare its outputs with the stored ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "elsewhere").mkdir()
        copy = shutil.copy(notebook, folder / "elsewhere")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        environment = os.environ | {
            "GAN_BOOK_WHEEL": wheel.as_uri(),
            "JUPYTER_PATH": str(kernel(folder / "jupyter")),
            "PYTHONPATH": str(ROOT),
        }
        options = [
            "--nbval",
            f"--nbval-kernel-name={KERNEL}",
            f"--nbval-cell-timeout={CELL_TIMEOUT}",
            f"--nbval-sanitize-with={ROOT / 'tests' / 'sanitise.cfg'}",
        ]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-p",
            "tools.compared",
            *options,
            copy,
        ]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def complaints(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return what a setup cell should not have done to the environment, or should have and did not."""
    found = [
        f"{name} was {version} and is {now.get(name, 'gone')}"
        for name, version in before.items()
        if now.get(name) != version
    ]
    if "gan_helpers" not in now:
        found.append("gan_helpers was not installed")
    return found


def main(arguments: list[str]) -> int:
    """Run the notebooks named, or all, and say what became of each."""
    chosen = [Path(name).resolve() for name in arguments] or notebooks()
    surroundings.settle()
    before = make_environment()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for path in chosen:
            print(f"{path.relative_to(ROOT)} ...", end=" ", flush=True)
            if reason := obstacle(path):
                print(f"skipped: {reason}")
                continue
            start = time.monotonic()
            done = compared(path, wheel)
            now = installed()
            wrong = complaints(before, now)
            take_away(now, before)
            if done.returncode != 0 or wrong:
                failed += 1
                print("failed.", *wrong, done.stdout, done.stderr, sep="\n")
            else:
                print(f"agrees with what is stored, {time.monotonic() - start:.0f} s")
            if installed() != before:
                before = make_environment()
    versions = ", ".join(f"{name} {before[name]}" for name in ("numpy", "torch"))
    print(f"{failed} failed." if failed else f"All is well, with {versions}, which stayed as they were.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
