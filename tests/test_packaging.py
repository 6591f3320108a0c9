"""What an installation brings: a light import, the weights, the README's commands."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def commands() -> list[str]:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("python3 -m venv")]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    for kind in ("wheel", "sdist"):
        subprocess.run(
            [
                sys.executable, "-c",
                f"from hatchling.build import build_{kind} as build; build({str(folder)!r})",
            ],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("torch", "sympy", "pandas", "pysr", "juliacall", "scipy.optimize", "matplotlib")
    code = f"import sys, sr_transformer; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_what_is_built_has_the_version_of_the_package(distributions):
    from sr_transformer import __version__

    assert [path.name.split("-")[1].removesuffix(".tar.gz") for path in distributions] == [
        __version__,
        __version__,
    ]


def test_the_wheel_holds_the_weights_the_model_card_and_the_types(distributions):
    names = zipfile.ZipFile(distributions[0]).namelist()
    assert any(
        n.startswith("sr_transformer/model/weights/") and n.endswith(".safetensors") for n in names
    )
    assert "sr_transformer/model/weights/MODEL_CARD.md" in names
    assert "sr_transformer/model/weights/index.json" in names
    assert "sr_transformer/prior/holdout.txt" in names
    assert "sr_transformer/py.typed" in names
    assert not [n for n in names if n.startswith(("tests/", "examples/"))]


def test_the_wheel_holds_every_module_and_the_licence(distributions):
    names = set(zipfile.ZipFile(distributions[0]).namelist())
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "sr_transformer").rglob("*.py")}
    assert modules <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_holds_examples_and_tests(distributions):
    with tarfile.open(distributions[1]) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames()]
    assert {"examples/planets.csv", "tests/conftest.py", "README.md", "LICENSE"} <= set(names)


def test_the_readme_has_exactly_two_commands_for_a_fresh_machine():
    first, second = commands()
    assert first.endswith("python examples/planets.py")
    assert "pytest" in second


def test_the_continuous_integration_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = script.split("grep -m 1 -E '")[1].split("'")[0]
    found = subprocess.run(
        ["grep", "-E", pattern, "README.md"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert found.stdout.splitlines() == [commands()[1]]


def test_the_continuous_integration_fails_when_the_tests_fail(tmp_path):
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text())
    (tmp_path / "README.md").write_text("python3 -m venv --help > made && false -m pytest\n")
    done = subprocess.run(["bash", str(script)], capture_output=True)
    assert (tmp_path / "made").exists()
    assert done.returncode != 0
