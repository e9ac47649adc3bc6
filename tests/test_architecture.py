"""Keeps the house in order: import arrows, dependency budgets, small modules, light start.

A package may import the standard library, those of our packages that the arrows allow
(host -> sdk -> protos, daemon -> protos, everyone -> devices), and what its own
pyproject.toml names: dependencies, extras, and the dependencies of ours among them,
so that protos brings grpcio to both ends at one version.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
PACKAGES = {  # folder -> import name
    "protos": "edgetran_protos",
    "devices": "edgetran_devices",
    "sdk": "edgetran",
    "daemon": "edgetran_daemon",
    "host": "edgetran_host",
}
MAY_IMPORT = {
    "edgetran_protos": set[str](),
    "edgetran_devices": set[str](),
    "edgetran": {"edgetran_protos", "edgetran_devices"},
    "edgetran_daemon": {"edgetran_protos", "edgetran_devices"},
    "edgetran_host": {"edgetran", "edgetran_protos", "edgetran_devices"},
}
HELP = """
import sys
from edgetran_host.cli.main import main
sys.argv = ["edgetran", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@dataclass(frozen=True)
class Import:
    place: str  # file:line
    name: str

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def sources(folder: str) -> list[Path]:
    """The package's own modules; generated stubs are nobody's to shape."""
    package = ROOT / folder / PACKAGES[folder]
    found = [path for path in package.rglob("*.py") if "generated" not in path.parts]
    assert found, f"{package} holds no modules"
    return sorted(found)


def imports(folder: str) -> Iterator[Import]:
    """Every import, at any depth; relative ones stay inside the package."""
    for path in sources(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call)):
                for name in imported(node):
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield Import(place, name)


def imported(node: ast.Import | ast.ImportFrom | ast.Call) -> list[str]:
    """The absolute names a statement imports, or a call does by a literal name."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module and not node.level else []
    called = ast.unparse(node.func)
    literal = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    by_name = called in ("importlib.import_module", "import_module", "__import__")
    return [literal] if by_name and isinstance(literal, str) else []


@lru_cache(maxsize=1)
def distributions_by_module() -> dict[str, set[str]]:
    """Import name -> the distributions that bring it, of what is installed here."""
    return {
        module: {canonical(name) for name in names}
        for module, names in packages_distributions().items()
    }


def declared(folder: str, *, extras: bool) -> set[str]:
    """Distributions that the package's own pyproject.toml names."""
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    requirements = list(project["dependencies"])
    for extra in project.get("optional-dependencies", {}).values():
        requirements += extra if extras else []
    return {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def budget(folder: str) -> set[str]:
    """What the package may import: declared, or brought by a declared package of ours."""
    named = declared(folder, extras=True)
    for other, package in PACKAGES.items():
        if canonical(package) in named:
            named |= declared(other, extras=False)
    return named


def canonical(distribution: str) -> str:
    """The spelling that makes names of distributions comparable (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("folder", PACKAGES)
def test_imports_follow_the_arrows(folder: str) -> None:
    own = PACKAGES[folder]
    ours = set(PACKAGES.values())
    wrong = [
        f"{found.place} imports {found.top}"
        for found in imports(folder)
        if found.top in ours - MAY_IMPORT[own] - {own}
    ]
    assert not wrong, "\n".join(wrong)


def test_the_command_line_is_imported_by_itself_alone() -> None:
    """What commands print is made elsewhere, so that pages and programs can have it, too."""
    edge = "host/edgetran_host/cli/"
    cli = "edgetran_host.cli"
    wrong = [
        f"{found.place} imports {found.name}"
        for found in imports("host")
        if not found.place.startswith(edge) and f"{found.name}.".startswith(f"{cli}.")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", PACKAGES)
def test_declared_dependencies_follow_the_arrows(folder: str) -> None:
    own = PACKAGES[folder]
    ours = {canonical(name) for name in PACKAGES.values()}
    assert declared(folder, extras=True) & ours <= {canonical(name) for name in MAY_IMPORT[own]}


@pytest.mark.parametrize("folder", PACKAGES)
def test_third_party_imports_stay_in_the_budget(folder: str) -> None:
    allowed = budget(folder)
    ours = set(PACKAGES.values())
    wrong = [
        f"{found.place} imports {found.top}"
        for found in imports(folder)
        if found.top not in sys.stdlib_module_names | ours
        and not distributions_by_module().get(found.top, {canonical(found.top)}) & allowed
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", PACKAGES)
def test_our_own_imports_are_declared(folder: str) -> None:
    ours = set(PACKAGES.values()) - {PACKAGES[folder]}
    used = {canonical(found.top) for found in imports(folder) if found.top in ours}
    assert used <= declared(folder, extras=False)


@pytest.mark.parametrize("folder", PACKAGES)
def test_modules_are_small_named_and_introduced(folder: str) -> None:
    wrong = []
    for path in sources(folder):
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MAX_LINES:
            wrong.append(f"{path.relative_to(ROOT)} has {lines} lines, at most {MAX_LINES}")
        if VAGUE_NAMES & {path.stem, path.parent.name}:
            wrong.append(f"{path.relative_to(ROOT)} has a name that says nothing")
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            wrong.append(f"{path.relative_to(ROOT)} does not open with why it exists")
    assert not wrong, "\n".join(wrong)


def test_help_loads_nothing_heavy() -> None:
    """`edgetran --help` must answer at once: neither torch nor any other extra is loaded."""
    ended = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    help_text, _, loaded = ended.stdout.partition("LOADED ")
    assert "deploy" in help_text
    extras = declared("host", extras=True) - declared("host", extras=False)
    heavy = {
        module
        for module in loaded.split()
        if distributions_by_module().get(module, set[str]()) & extras
    }
    assert "torch" not in set(loaded.split()), "loaded torch for the help"
    assert not heavy, f"loaded for the help: {', '.join(sorted(heavy))}"
