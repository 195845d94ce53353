"""What ``packaging/`` holds: as far as it can be tried without a registry and without systemd as init."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_flow.cli.app import command
from gitops_flow.controller import config

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "gitflow-controller.service"
COMPOSE: dict[str, Any] = yaml.safe_load((PACKAGING / "compose/compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def _accepted(words: list[str]) -> None:
    """Fail unless ``gitflow WORDS`` is a command with its options."""
    group = command()
    while hasattr(group, "commands"):
        name, *words = words
        group = group.commands[name]
    group.make_context(name, words)


def _instructions() -> list[tuple[str, str]]:
    """Instruction and arguments, of the whole Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (PACKAGING / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def _stages() -> dict[str, list[tuple[str, str]]]:
    stages: dict[str, list[tuple[str, str]]] = {}
    for instruction, rest in _instructions():
        if instruction == "FROM":
            stages[rest.split(" AS ")[1]] = []
        elif stages:
            stages[list(stages)[-1]].append((instruction, rest))
    return stages


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command that is installed here: systemd looks whether there is one."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    path = tmp_path / UNIT.name
    installed = str(Path(sys.executable).with_name("gitflow"))
    path.write_text(UNIT.read_text().replace("/opt/gitflow/bin/gitflow", installed))
    return path


def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_as_closed_as_the_document_says(unit: Path) -> None:
    told = re.search(r"exposure (\d)\.(\d) of 10", (ROOT / "docs/controller.md").read_text())
    assert told is not None
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={told[1]}{told[2]}", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


def test_the_units_command_is_one_and_its_file_is_the_documents() -> None:
    _, *words = shlex.split(re.findall(r"^ExecStart=(.*)", UNIT.read_text(), re.MULTILINE)[0])
    _accepted(words)
    assert words[-1] in (ROOT / "docs/controller.md").read_text()


def test_the_unit_gives_a_deploy_the_time_that_the_controller_gives_it() -> None:
    from gitops_flow.controller.run import GRACE

    seconds = int(re.findall(r"^TimeoutStopSec=(\d+)", UNIT.read_text(), re.MULTILINE)[0])
    assert seconds > 2 * GRACE
    assert SERVICES["controller"]["stop_grace_period"] == f"{seconds}s"
    assert "KillMode=mixed" in UNIT.read_text()


@pytest.mark.parametrize("stage", ["controller", "worker"])
def test_an_image_runs_as_nobody_of_importance_and_copies_what_is_there(stage: str) -> None:
    instructions = _stages()[stage]
    assert [rest for name, rest in instructions if name == "USER"] == ["10001"]
    last_run = max(number for number, each in enumerate(instructions) if each[0] == "RUN")
    assert ("USER", "10001") in instructions[last_run:]
    for name, rest in _stages()["build"]:
        if name == "COPY":
            assert [each for each in rest.split()[:-1] if not (ROOT / each).exists()] == []


def test_the_images_commands_are_commands() -> None:
    found = dict(_stages()["controller"])
    entry, default = yaml.safe_load(found["ENTRYPOINT"]), yaml.safe_load(found["CMD"])
    check = yaml.safe_load(found["HEALTHCHECK"].partition(" CMD ")[2])
    assert entry == ["gitflow"] == check[:1]
    _accepted(default)
    _accepted(check[1:])


def test_no_image_is_whatever_is_newest() -> None:
    images = [each["image"] for each in SERVICES.values() if "image" in each]
    images += [rest.partition("=")[2] for name, rest in _instructions() if name == "ARG"]
    assert len(images) == 4
    for image in images:
        assert re.search(r":\d+(\.\d+)*-", image), image


def test_the_services_fit_together() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= {
            name for name, each in SERVICES.items() if "healthcheck" in each
        }
        build = service.get("build")
        if build:
            assert (PACKAGING / "compose" / build["context"]).resolve() == ROOT
            assert (ROOT / build["dockerfile"]).exists()
            assert build["target"] in _stages()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (PACKAGING / "compose" / source).is_dir()
    targets = {each.split(":")[1] for each in SERVICES["controller"]["volumes"]}
    kept = yaml.safe_load(dict(_stages()["controller"])["VOLUME"])
    assert targets == {*kept, dict(_stages()["controller"])["WORKDIR"]}


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert ports == ["127.0.0.1:4200:4200"]
    assert {"read_only", "cap_drop", "security_opt"} <= SERVICES["controller"].keys()


def test_the_configuration_is_one_and_means_the_server_of_the_services() -> None:
    found = config.load(PACKAGING / "compose/config/gitflow.yaml")
    assert found.prefect is not None
    assert found.prefect.api_url == SERVICES["worker"]["environment"]["PREFECT_API_URL"]
    assert found.prefect.api_url == "http://server:4200/api"
    assert found.listen == "127.0.0.1:4300"


def test_the_server_gets_settings_that_prefect_has() -> None:
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields

    known = set(_get_settings_fields(Settings))
    given = {
        name
        for each in SERVICES.values()
        for name in each.get("environment", {})
        if name.startswith("PREFECT_")
    }
    assert given <= known


def test_docker_takes_the_services_for_valid() -> None:
    compose = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*compose, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not installed")
    file = str(PACKAGING / "compose/compose.yaml")
    done = subprocess.run(
        [*compose, "--file", file, "config", "--quiet"],
        env={"PATH": "/usr/bin:/bin", "POSTGRES_PASSWORD": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
