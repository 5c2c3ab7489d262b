"""
The official JavaScript packages work with the sandbox, so that you can try code that uses them on it.

The tests themselves are JavaScript, in the folder js/. The packages come from the npm registry, pinned with their
hashes, and are kept outside the tree (`~/.cache/perennial`, or below `XDG_CACHE_HOME`). If they cannot be installed,
the tests are skipped; in CI (`CI=true`), where a skip would go unnoticed, they fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from blocks.sandbox.running import RunningSandbox

JS = Path(__file__).parent / "js"
FROZEN = ("--clock", "2026-03-01T06:00:00Z", "--frozen")
SUITES = {
    "tokens": ("--limits", "off", "--frozen"),  # the real date, since js-auth and the SDK use the machine's clock
    "reading": ("--limits", "off", *FROZEN),
    "writing": ("--limits", "off", *FROZEN),
    "refusals": ("--limits", "off", *FROZEN),
    "webhooks": ("--limits", "off", *FROZEN),
    "coverage": ("--limits", "off", *FROZEN),
    "bulk": ("--limits", "off", *FROZEN),
    "limits": ("--limit-clock", "virtual", *FROZEN),
}
NODE_MAJOR = 20


def test_every_javascript_suite_is_run() -> None:
    assert {path.name.removesuffix(".test.mjs") for path in JS.glob("*.test.mjs")} == set(SUITES)


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder node_modules with the official packages."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are needed to run the official JavaScript SDK")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MAJOR:
        pytest.skip(f"the official JavaScript SDK needs node {NODE_MAJOR} or newer; this is {version}")
    lock = (JS / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perennial"
    folder = cache / f"official-sdk-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        _install(cache, folder)
    return folder / "node_modules"


def _install(cache: Path, folder: Path) -> None:
    """Install in a temporary folder, then rename it, since other test processes may install at the same time."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as making:
        made = Path(making) / "made"
        made.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(JS / name, made)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            run = subprocess.run(npm, cwd=made, capture_output=True, text=True, timeout=280, check=False)
        except subprocess.TimeoutExpired:
            _give_up("npm ci took longer than 280 seconds")
        if run.returncode != 0:
            _give_up(f"npm ci ended with status {run.returncode}: {run.stderr.strip()[-500:]}")
        try:
            made.rename(folder)
        except OSError:
            assert folder.exists()  # another process was faster


def _give_up(reason: str) -> NoReturn:
    message = f"the official JavaScript packages could not be installed: {reason}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_packages_that_cannot_be_installed_fail_in_ci_and_are_skipped_elsewhere(tmp_path, monkeypatch, ci, outcome):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no such registry >&2\nexit 7\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match=r"could not be installed: npm ci ended with status 7: no such registry"):
        _install(tmp_path / "cache", tmp_path / "cache" / "made")


@pytest.mark.parametrize("suite", SUITES)
def test_the_official_packages_work_with_the_sandbox(suite: str, packages: Path, tmp_path: Path) -> None:
    # Node looks for packages next to the script, so the scripts are copied next to a link to the packages.
    for path in JS.glob("*.mjs"):
        shutil.copy(path, tmp_path)
    (tmp_path / "node_modules").symlink_to(packages)
    with RunningSandbox(*SUITES[suite]) as sandbox:
        facts = {name: getattr(sandbox, name) for name in ("url", "organization", "client_id", "client_secret")}
        run = subprocess.run(
            ["node", "--test", "--test-reporter=tap", f"{suite}.test.mjs"],
            cwd=tmp_path,
            env={**os.environ, "SANDBOX": json.dumps(facts)},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    counts = {name: int(count) for name, count in re.findall(r"^# (\w+) (\d+)$", run.stdout, re.MULTILINE)}
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert counts["pass"] == counts["tests"] > 1, run.stdout
