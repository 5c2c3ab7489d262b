"""What the project promises about itself: pins, documents, deployments."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.artifacts import Artifact, acreate_markdown_artifact

from flows.cli.app import COMMANDS
from flows.cli.prefect_server import PrefectServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def deployments() -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return found


def test_the_lock_pins_every_package_exactly_and_names_no_download_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith((" ", "#"))]

    assert requirements
    assert all("==" in line for line in requirements)
    assert not [line for line in lines if "://" in line or line.startswith("-")]


async def test_with_the_pinned_fastapi_the_server_starts_and_accepts_null_filters_from_its_own_client(
    server: PrefectServer,
) -> None:
    await acreate_markdown_artifact("it works", key="pins")

    artifact = await Artifact.aget("pins")  # sends null filters: 422 with fastapi 0.151 and newer

    assert artifact is not None


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README))))
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\bperennial ([a-z]+)(?= )", README))))
def test_every_command_in_the_readme_exists(command: str) -> None:
    assert command in COMMANDS


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_document_that_the_readme_links_to_exists(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize(("file", "function"), re.findall(r"`([\w/]+\.py):([\w.]+)`", ARCHITECTURE))
def test_every_function_that_the_architecture_page_names_is_in_the_file_it_says(file: str, function: str) -> None:
    *classes, name = function.split(".")
    scope: list[ast.stmt] = ast.parse((ROOT / file).read_text()).body
    for each in classes:
        scope = next(node.body for node in scope if isinstance(node, ast.ClassDef) and node.name == each)

    assert name in [node.name for node in scope if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: str(each["name"]))
def test_every_deployment_has_a_module_entrypoint_to_a_flow_of_the_same_name(deployment: dict[str, object]) -> None:
    module, _, name = str(deployment["entrypoint"]).rpartition(".")

    flow = getattr(import_module(module), name)

    assert isinstance(flow, Flow)
    assert flow.name == deployment["name"]
    assert f"`{flow.name}`" in README or deployment.get("schedules") is None


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: str(each["name"]))
def test_every_parameter_of_a_deployment_is_explained_in_its_form(deployment: dict[str, object]) -> None:
    module, _, name = str(deployment["entrypoint"]).rpartition(".")

    properties = getattr(import_module(module), name).parameters.properties

    assert [title for title, field in properties.items() if not field.get("description")] == []
