"""A wheel that is installed somewhere else works there, with everything that it needs and nothing of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository, built without a network."""
    there = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(there)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = there.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment into which only the wheel was installed; the dependencies are those of this one."""
    home = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    # A folder that a .pth file names is searched last, and the .pth files in it, such as the one that leads to the
    # repository, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def said(installed: Path, folder: Path, *command: str) -> tuple[int, str]:
    """Run a command of the environment in an empty folder: the exit code, and what it printed."""
    ours = ("PREFECT_", "PYTHON", "XDG_", "VIRTUAL_ENV")
    clean = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [str(installed / command[0]), *command[1:]], cwd=folder, env={**clean, "HOME": str(folder)},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_the_wheel_has_the_data_files_and_nothing_but_the_two_packages(wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())

    assert {"flows/cli/report.html.jinja", "flows/prefect.yaml", "flows/py.typed", "blocks/py.typed"} <= files
    assert {name.partition("/")[0] for name in files} == {"flows", "blocks", "perennial-0.2.0.dist-info"}


def test_the_installed_code_is_the_wheels_and_finds_its_data(installed: Path, tmp_path: Path) -> None:
    ask = (
        "import blocks, flows; from flows.cli import places, report_page; "
        "print(flows.__path__[0], blocks.__path__[0], places.deployments_file(), places.home_of_up(), sep=chr(10))"
    )

    code, text = said(installed, tmp_path, "python", "-c", ask)

    flows, blocks, deployments, home = map(Path, text.split())
    assert code == 0
    assert installed.parent in flows.parents
    assert installed.parent in blocks.parents
    assert deployments.read_bytes() == (ROOT / "prefect.yaml").read_bytes()
    assert home == tmp_path / ".local" / "state" / "perennial" / "up"


@pytest.mark.slow
def test_the_installed_command_renews_outside_of_the_repository(installed: Path, tmp_path: Path) -> None:
    code, text = said(installed, tmp_path, "perennial", "demo", "--subscriptions", "3")

    assert code == 0, text
    assert "3 order copies, 3 placed orders for 3 periods: 0 charged twice" in text
    assert "Next: perennial up" in text
    assert str(ROOT) not in text
