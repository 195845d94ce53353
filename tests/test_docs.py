"""The documents are true: every path, command, option and variable in them exists, and is in them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gitops_flow import settings
from gitops_flow.cli.app import command
from gitops_flow.model import CodeStoreSettings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
ALL = "\n".join(TEXT.values())
COMMAND_PAGES = tuple(
    f"docs/{name}.md" for name in ("deploy", "plan", "releases", "settings", "controller")
)
SOURCES = {
    path: path.read_text()
    for path in ROOT.glob("gitops_flow/**/*.py")
    if "__pycache__" not in path.parts
}


def options() -> dict[str, set[str]]:
    """The options of each command."""
    return {
        name: {flag for param in sub.params for flag in (*param.opts, *param.secondary_opts)}
        for name, sub in _commands(command())
    }


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its words (``controller run``), and those that have others below."""
    for name, sub in group.commands.items():
        yield f"{before}{name}", sub
        if hasattr(sub, "commands"):
            yield from _commands(sub, f"{before}{name} ")


@pytest.mark.parametrize("page", TEXT)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT[page])
    missing = [
        link
        for link in links
        if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", TEXT)
def test_every_path_that_is_named_exists(page: str) -> None:
    named = re.findall(
        r"`((?:gitops_flow|tests|docs|benchmarks|examples|action|\.ci)/[\w./-]+)`", TEXT[page]
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_gitflow_command_in_the_documents_exists() -> None:
    shown = "\n".join(re.findall(r"```console\n(.*?)```", ALL, re.DOTALL))
    verb = r"gitflow ((?:controller )?[a-z][\w-]*)"
    used = set(re.findall(rf"^(?:\$ )?{verb}", shown, re.MULTILINE))
    used |= set(re.findall(rf"`{verb}", ALL))
    assert used
    assert used <= set(options())


def test_every_option_in_the_documents_exists() -> None:
    known = set().union(*options().values()) | {"--version", "-V", "--help", "-h"}
    used = set(
        re.findall(
            r"`(--[a-z][a-z-]*)[ `=]",
            TEXT["README.md"] + "".join(TEXT[page] for page in COMMAND_PAGES),
        )
    )
    assert used
    assert used <= known


@pytest.mark.parametrize("name", list(options()))
def test_every_option_that_exists_is_documented(name: str) -> None:
    long = {flag for flag in options()[name] if flag.startswith("--")}
    pages = "".join(TEXT[page] for page in COMMAND_PAGES)
    assert {flag for flag in long if not re.search(rf"{flag}[`\s]", pages)} == set()


def test_every_variable_of_ours_is_documented_and_every_documented_one_is_read() -> None:
    pattern = re.compile(r"\bGITFLOW_(?!GIT_USERNAME|GIT_SECRET|TESTS_)[A-Z_]*[A-Z]\b")
    read = set().union(*(pattern.findall(text) for text in SOURCES.values()))
    for field in fields(CodeStoreSettings):
        name = f"GITFLOW_CODE_STORE_{field.name.upper()}"
        loaded = settings.load({name: "said"}, Path("/"))
        if getattr(loaded.code_store, field.name) == "said":
            read.add(name)
    assert read == set(pattern.findall(TEXT["docs/settings.md"]))


PREFECT = {
    "PREFECT_API_URL": "http://h/api",
    "PREFECT_API_AUTH_STRING": "a:b",
    "PREFECT_API_KEY": "k",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
    "PREFECT_API_SSL_CERT_FILE": "/x.pem",
    "PREFECT_API_REQUEST_TIMEOUT": "7",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-A": "b"}',
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_CLIENT_MAX_RETRIES": "9",
    "PREFECT_DEFAULT_WORK_POOL_NAME": "pool",
    "PREFECT_PROFILE": "other",
    "PREFECT_PROFILES_PATH": "{tmp}/elsewhere.toml",
    "PREFECT_HOME": "{tmp}/home",
}


def test_the_documented_prefect_settings_are_these() -> None:
    assert set(re.findall(r"PREFECT_[A-Z_]*[A-Z]", TEXT["docs/settings.md"])) == set(PREFECT)


@pytest.mark.parametrize("name", PREFECT)
def test_a_documented_prefect_setting_counts(name: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/profiles.toml").write_text(
        'active = "h"\n[profiles.h]\nPREFECT_API_URL = "http://home/api"\n'
    )
    profiles = (
        'active = "p"\n[profiles.p]\nPREFECT_API_URL = "http://p/api"\n'
        '[profiles.other]\nPREFECT_API_URL = "http://other/api"\n'
    )
    (tmp_path / "profiles.toml").write_text(profiles)
    (tmp_path / "elsewhere.toml").write_text(profiles.replace("http://p/", "http://elsewhere/"))
    base = {"PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml"), "HOME": str(tmp_path)}
    if name == "PREFECT_HOME":
        del base["PREFECT_PROFILES_PATH"]
    said = {name: PREFECT[name].replace("{tmp}", str(tmp_path))}
    assert settings.load({**base, **said}, tmp_path) != settings.load(base, tmp_path)


def test_every_message_in_the_troubleshooting_is_one_that_is_printed() -> None:
    rows = re.findall(r"^\| `([^`]+)`", TEXT["docs/troubleshooting.md"], re.MULTILINE)
    assert len(rows) > 15
    printed = "".join(re.sub(r'"\s*\n\s*f?"', "", text) for text in SOURCES.values())
    printed = printed.replace("{NAME}", "prefect.yaml")
    printed += "Process exited with status code: 1"  # Prefect's
    missing = [
        row for row in rows for part in re.split(r" ?\.\.\.,? ?", row) if part not in printed
    ]
    assert missing == []


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"(?:^|`)make ([a-z]+)", ALL, re.MULTILINE))
    assert used <= targets


def test_every_module_is_in_the_architecture() -> None:
    modules = {
        path.stem
        for path in (ROOT / "gitops_flow").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__", "__main__", "__pycache__"}
    text = TEXT["docs/architecture.md"]
    assert {module for module in modules if f"`{module}`" not in text} == set()


def test_every_manifest_in_the_documents_is_accepted(tmp_path: Path) -> None:
    from gitops_flow import manifest

    found = 0
    for page, text in TEXT.items():
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
            path = tmp_path / "prefect.yaml"
            if "deployments:" not in block:
                block += "deployments: []\n"
            path.write_text(block)
            manifest.load(path, f"{page} block {number}")
            found += 1
    assert found >= 4


def test_the_help_of_every_command_is_printed_without_error() -> None:
    for name in options():
        done = subprocess.run(
            [sys.executable, "-m", "gitops_flow", *name.split(), "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0
        assert "Usage: gitflow" in done.stdout


def test_no_document_names_a_machines_path_or_a_registry() -> None:
    assert re.findall(r"/(?:root|home|work)/|pypi\.org/simple|registry\.npmjs", ALL) == []


def test_no_page_installs_the_package_from_an_index_that_does_not_have_it() -> None:
    commands = re.findall(r"pip3? install[^`\n]*", ALL + (ROOT / "action/README.md").read_text())
    assert [each for each in commands if re.search(r"\sgitops-flow\b", each)] == []
