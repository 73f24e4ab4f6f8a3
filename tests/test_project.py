"""The project's files agree with each other, and `make` chooses its Python well."""

import ast
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.browsing import BROWSERS
from tools import colab
from tools.sheets import ROOT, load, notebooks

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SUPPORTED = re.search(r"^# Python: (.*)$", REQUIREMENTS, re.MULTILINE)[1].split()


def pins(python):
    """The lines of requirements.txt that name a package, as Linux on x86-64 has them with some Python."""
    found = [line for line in REQUIREMENTS.splitlines() if line and not line.startswith("#")]
    assert found.pop(0) == "-e ."
    taken = [r for r in map(Requirement, found) if asked(r, python)]
    assert len({canonicalize_name(r.name) for r in taken}) == len(taken), "a package is pinned twice"
    return {canonicalize_name(r.name): r for r in taken}


def asked(requirement, python):
    """Whether a requirement is asked for by Linux on x86-64 with some Python."""
    here = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": python}
    return requirement.marker is None or requirement.marker.evaluate(here)


def targets():
    return set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


# Versions


@pytest.mark.parametrize("python", SUPPORTED)
def test_every_requirement_is_one_exact_version_in_the_range_of_the_package(python):
    for pin in pins(python).values():  # with a plus, a build would be in one place only
        assert re.fullmatch(r"==[^*+,]+", str(pin.specifier)), pin
    ranges = [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]
    for requirement in map(Requirement, ranges):
        pin = pins(python).get(canonicalize_name(requirement.name))
        if pin is None:
            assert (requirement.name, python) == ("mxnet", "3.13")  # it asks for a NumPy without wheels there
            continue
        (version,) = (s.version for s in pin.specifier)
        assert requirement.specifier.contains(version), f"{pin} is outside {requirement}"


@pytest.mark.parametrize("python", SUPPORTED)
def test_numpy_and_mxnet_are_those_that_go_together(python):
    found = pins(python)
    assert f"numpy{found['numpy'].specifier}" in (
        colab.PLATFORM if python == colab.SERIES else ["numpy==1.26.4"]
    )
    assert ("mxnet" in found) == ("graphviz" in found) == (python != colab.SERIES)


def test_the_package_allows_the_pythons_of_the_book_and_what_hosted_notebooks_bring():
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.0") for version in SUPPORTED)
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert {s.operator for s in requirement.specifier} == {">="}, requirement


# Lists that have to agree


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_and_links_in_the_text_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`|\$ )make ([a-z]+)", text, re.MULTILINE)
    assert named and set(named) <= targets()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links and [link for link in links if not (ROOT / link).is_file()] == []


def test_ci_builds_the_book_and_then_tests_and_lints():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^for target in (.*); do$", script, re.MULTILINE)[1].split() == ["book", "test", "lint"]
    assert re.search(r"command -v (chrom.*) >/dev/null", script)[1].split() == list(BROWSERS)
    assert "set -eu" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_help_lists_every_target():
    described = set(re.findall(r"^([a-z]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert described == targets()
    assert targets() <= set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())


def test_every_public_module_has_its_place_in_the_reference():
    listed = re.findall(r"automodule:: (\S+)", (ROOT / "book" / "helpers.md").read_text(encoding="utf-8"))
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "gan_helpers").rglob("*.py")
        if path.parent.name != "gan_helpers" or not path.name.startswith("_")
    ]
    modules = [name for name in modules if ".mxnet_backend" not in name]  # its import needs MXNet
    assert sorted(listed) == sorted(modules)


def test_every_public_function_says_what_its_arguments_are_and_what_it_raises():
    for path in sorted((ROOT / "gan_helpers").glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in module.body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            name = f"{path.stem}.{node.name}"
            text, arguments = ast.get_docstring(node), [*node.args.args, *node.args.kwonlyargs]
            described = text.partition("\nArgs:\n")[2]
            said = re.findall(r"^    (\w+): \S", described, re.MULTILINE)
            missing = [argument.arg for argument in arguments if argument.arg not in said]
            assert not missing, f"{name}: {missing}"
            # Those of checkpoints that raise nothing describe whatever they are given.
            if arguments and not name.startswith("describing.describe"):
                assert "\nRaises:\n" in text + ast.get_docstring(module), name


def one_sided(code):
    """Yield comparisons of a difference, as in x - y < 0.01, that hold however small x is.

    If the code also asks for y <= x, they do not.
    """
    compared = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Compare)]
    asked = {ast.unparse(node) for node in compared}
    for node in compared:
        if isinstance(node.ops[0], ast.Lt | ast.LtE) and isinstance(getattr(node.left, "op", None), ast.Sub):
            if f"{ast.unparse(node.left.right)} <= {ast.unparse(node.left.left)}" not in asked:
                yield ast.unparse(node)


def test_no_check_forgets_to_take_the_size_of_a_difference():
    codes = ["assert loss - 0.3133 < 1e-2 and abs(loss) < 1 and bound <= jsd and jsd - bound < 0.01"]
    codes += [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py")]
    for path in notebooks():
        codes.append("\n".join(c.source for c in load(path).cells if c.cell_type == "code"))
    found = {text for code in codes for text in one_sided(code)}
    assert found - {"time.monotonic() - start < 10"} == {"loss - 0.3133 < 0.01"}


def test_every_reference_can_be_found():
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{(\w+),(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    keys = [key for key, _ in entries]
    assert len(entries) == text.count("\n@")
    assert keys == sorted(set(keys), key=str.lower)
    for key, fields in entries:
        assert re.search(r"^  (doi|eprint|url) = \{\S+\},$", fields, re.MULTILINE), key
        assert all(f"  {name} = {{" in fields for name in ("author", "title", "year")), key


def test_no_file_names_the_machine_or_where_packages_come_from():
    """The names are put together here, or this file would name them."""
    hosts = ["--index" + "-url", "--find" + "-links", "files.python" + "hosted"]
    words = hosts + [f"{folder}/" for folder in (Path.home(), ROOT.parent) if len(f"{folder}") > 1]
    endings = {".py", ".md", ".ipynb", ".yml", ".toml", ".txt", ".sh", ".cff", ".bib", ""}
    skipped = {"_build", "build", "dist", "__pycache__"}
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" or part.endswith(".egg-info") for part in parts)
        if hidden or skipped & set(parts) or path.suffix not in endings or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not [word for word in words if word in text], path.relative_to(ROOT)


# The choice of a Python, tried with scripts that pose as one

PRETENDER = """#!/bin/sh
case "$*" in
*version_info*) echo "{version}" ;;
*"import ensurepip"*) exit {ensurepip} ;;
*_base_executable*) echo "$0" ;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "venv with $0" >>log ;;
"-m pip install "*) echo "pip" >>log; exit "${{PIP_RESULT:-0}}" ;;
*) exit 1 ;;
esac
"""


class Sandbox:
    """A copy of what the script reads, on a path where only pretenders are called python."""

    def __init__(self, folder):
        self.root, self.bin = folder / "a project", folder / "bin"
        (self.root / "tools").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("tools/environment.sh", "requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        for name in "sh sed cat cmp cp dirname find head mkdir mv rm sleep touch".split():
            (self.bin / name).symlink_to(shutil.which(name))

    def python(self, name, version, ensurepip=0):
        path = self.bin / name
        path.write_text(PRETENDER.format(version=version, ensurepip=ensurepip))
        path.chmod(0o755)
        return path

    def run(self, asked="", **env):
        command = ["sh", str(self.root / "tools" / "environment.sh"), ".venv", str(asked)]
        return subprocess.run(
            command, env={"PATH": str(self.bin), **env}, capture_output=True, text=True, timeout=60
        )

    @property
    def log(self):
        path = self.root / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def done(self):
        """What was done, in words: venv, pip."""
        return " ".join(line.split()[0] for line in self.log)

    def change(self, name="requirements.txt"):
        with (self.root / name).open("a") as file:
            file.write("# changed\n")

    def refused(self, asked=""):
        """The one sentence with which the script refuses; nothing may have been made."""
        before = sorted(self.root.rglob("*"))
        done = self.run(asked)
        assert (done.returncode != 0, done.stdout) == (True, "")
        assert sorted(self.root.rglob("*")) == before
        (sentence,) = done.stderr.splitlines()
        assert sentence.endswith(".") and ". " not in sentence
        return sentence


@pytest.fixture
def sandbox(tmp_path):
    if sys.platform == "win32":
        pytest.skip("the scripts that pose as Python are for sh")
    return Sandbox(tmp_path)


OLD, NEW = SUPPORTED[0], SUPPORTED[1]
SPOKEN = f"{', '.join(SUPPORTED[:-1])} or {SUPPORTED[-1]}"
WAY_OUT = f"`make book PYTHON=/path/to/python{OLD}`"


def test_the_first_python_that_fits_makes_the_environment_and_another_one_makes_another(sandbox):
    sandbox.python("python3", "3.6")
    shim = sandbox.python(f"python{OLD}", OLD)
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    fitting, other = sandbox.python(f"python{NEW}", NEW), sandbox.python("other", OLD)
    assert sandbox.run().returncode == 0
    assert sandbox.run(other).returncode == 0
    assert sandbox.log == [f"venv with {fitting}", "pip", f"venv with {other}", "pip"]


def moved(sandbox):
    sandbox.root = sandbox.root.rename(sandbox.root.with_name("elsewhere"))


def interrupted(sandbox, at_first=False):
    if at_first:
        shutil.rmtree(sandbox.root / ".venv")
    sandbox.change()
    assert sandbox.run(PIP_RESULT="1").returncode != 0
    (sandbox.root / ".venv" / "left over").touch()


@pytest.mark.parametrize(
    ("change", "done"),
    [
        (lambda sandbox: None, ""),
        (lambda sandbox: sandbox.change("requirements.txt"), " pip"),
        (lambda sandbox: sandbox.change("pyproject.toml"), " pip"),
        (moved, " venv pip"),
        (interrupted, " pip venv pip"),
        (lambda sandbox: interrupted(sandbox, at_first=True), " venv pip venv pip"),
    ],
)
def test_a_second_run_does_what_has_become_necessary(sandbox, change, done):
    sandbox.python("python3", OLD)
    sandbox.run()
    change(sandbox)
    again = sandbox.run()
    assert (again.returncode, again.stdout if not done else "", again.stderr) == (0, "", "")
    assert sandbox.done == f"venv pip{done}"
    assert not list(sandbox.root.glob(".venv/left over")) and not list(sandbox.root.glob(".venv/.unfinished"))


def test_a_python_that_does_not_fit_is_named_with_the_way_out(sandbox):
    sentences = [sandbox.refused()]
    assert "none was found" in sentences[0] and SPOKEN in sentences[0]
    sandbox.python("python3", OLD)  # what is asked for is not replaced
    sentences.append(sandbox.refused("/nowhere/python3"))
    assert "/nowhere/python3 does not run" in sentences[-1]
    for version in ("2.7", "3.6", "3.10", "3.14", "3.11 (PyPy)"):
        sentences.append(sandbox.refused(sandbox.python("other", version)))
        assert f"other is {version})" in sentences[-1]
    sandbox.python("python3", "3.14")
    sandbox.python("python", "2.7")
    sentences.append(sandbox.refused())
    assert "(python3 is 3.14, python is 2.7)" in sentences[-1]
    bare = sandbox.python(f"python{OLD}", OLD, ensurepip=1)
    for asked in ("", bare):
        sentences.append(sandbox.refused(asked))
        assert f"python{OLD} (" in sentences[-1] and "python3-venv" in sentences[-1]
    assert all(WAY_OUT in sentence for sentence in sentences)
    sandbox.python("python3", NEW)
    assert sandbox.run().returncode == 0


def test_a_second_make_waits_for_the_first_but_not_for_one_that_is_gone(sandbox):
    sandbox.python("python3", OLD)
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: sandbox.run(), range(2)))
    assert ([done.returncode for done in both], sandbox.done) == ([0, 0], "venv pip")
    sandbox.change()
    lock = sandbox.root / ".venv.lock"
    lock.write_text("4194304\n")  # no process has so high a number
    assert sandbox.run().returncode == 0
    assert not lock.exists()


def test_an_environment_made_by_hand_is_used_if_it_fits_and_never_removed(sandbox):
    (sandbox.root / ".venv" / "bin").mkdir(parents=True)
    (sandbox.root / ".venv" / "mine").touch()
    python = sandbox.root / ".venv" / "bin" / "python"
    sandbox.python("other", "3.14").rename(python)
    sandbox.python("python3", OLD)
    assert "move it away" in sandbox.refused()
    sandbox.python("other", OLD).rename(python)
    assert sandbox.run().returncode == 0
    assert sandbox.log == ["pip"]
    assert (sandbox.root / ".venv" / "mine").exists()
