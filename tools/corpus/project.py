"""A repository around a manifest, in which everything that it names exists."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gitops_flow
from tests.support.prefect import isolated_environment
from tests.support.repo import Repo

if TYPE_CHECKING:
    from tools.corpus.survey import Flow, Survey

_ROOT = Path(gitops_flow.__file__).parent.parent
# What scripts may really call; other programs are stand-ins that print a word.
_HARMLESS = ("basename", "cat", "date", "dirname", "echo", "git", "printf", "true", "uname")
_OURS = ("prefect.", "gitops_flow.")
_STEP = """

def {name}(**inputs):
    image = f"{{inputs.get('image_name', 'image')}}:{{inputs.get('tag') or 'made-up'}}"
    return {{
        **{{key: value for key, value in inputs.items() if isinstance(value, (str, int, bool))}},
        "tag": inputs.get("tag") or "made-up",
        "image": image,
        "image_id": "sha256:0123",
        "directory": "made-up",
    }}
"""


class Project:
    """A committed repository for one manifest.

    ``directory`` is where the manifest is; ``environ`` is what both commands
    get, the address of the API apart.
    """

    def __init__(self, base: Path, text: bytes, needs: Survey) -> None:
        self._base = base
        self.repo = Repo(base / "project")
        # The one that the manifest clones, since only that can be deployed as it says.
        if needs.branch:
            self.repo.git("checkout", "-q", "-b", needs.branch)
        up = max((_ups(flow.location) for flow in needs.flows.values()), default=0)
        self.directory = self.repo.path.joinpath(*["sub"] * up)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.environ = self._environment(needs)
        (self.directory / "prefect.yaml").write_bytes(text)
        (self.directory / "requirements.txt").touch()
        self._flows(needs)
        self._packages(needs)
        self._programs(needs)
        self.repo.commit()
        # What the stand-ins of programs and steps say, where it becomes a name of git's.
        self.repo.git("tag", "made-up")
        self._remote(needs.repository)

    def _environment(self, needs: Survey) -> dict[str, str]:
        home = self._base / "home"
        home.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GIT"))}
        return {
            **kept,
            **isolated_environment(home),
            **needs.environ,
            "PATH": str(self._base / "bin"),
            "VIRTUAL_ENV": sys.prefix,
            # The gitflow that is judged is the one that runs this.
            "PYTHONPATH": os.pathsep.join([str(self._base / "packages"), str(_ROOT)]),
            "PREFECT_HOME": str(home / ".prefect"),
            "GIT_ALLOW_PROTOCOL": "file",
            "NO_COLOR": "1",
            "COLUMNS": "400",
        }

    def _flows(self, needs: Survey) -> None:
        files: dict[Path, list[Flow]] = {}
        for flow in needs.flows.values():
            if path := self._path(flow):
                files.setdefault(path, []).append(flow)
        for path, flows in files.items():
            if path.is_relative_to(self.repo.path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_source(flows))
                if not flows[0].is_file:
                    self._make_packages(path.parent)

    def _path(self, flow: Flow) -> Path | None:
        if flow.is_file:
            return Path(os.path.normpath(self.directory / flow.location))
        if not re.fullmatch(r"[\w.]+", flow.location):
            return None
        return self.directory.joinpath(*flow.location.split(".")).with_suffix(".py")

    def _make_packages(self, directory: Path) -> None:
        while directory != self.directory:
            (directory / "__init__.py").touch()
            directory = directory.parent

    def _packages(self, needs: Survey) -> None:
        functions: dict[str, set[str]] = {}
        for step in needs.steps:
            module, _, name = step.rpartition(".")
            if re.fullmatch(r"[\w.]+", module) and name and not step.startswith(_OURS):
                functions.setdefault(module, set()).add(name)
        for module, names in functions.items():
            path = self._base.joinpath("packages", *module.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(_STEP.format(name=name) for name in sorted(names)))
            for parent in path.parents:
                if parent.name == "packages":
                    break
                (parent / "__init__.py").touch()

    def _programs(self, needs: Survey) -> None:
        directory = self._base / "bin"
        directory.mkdir()
        for name in _HARMLESS:
            if real := shutil.which(name):
                (directory / name).symlink_to(real)
        for name in needs.programs:
            if not (directory / name).exists() and re.fullmatch(r"[\w.+-]+", name):
                (directory / name).write_text("#!/bin/sh\necho made-up\n")
                (directory / name).chmod(0o755)

    def _remote(self, address: str | None) -> None:
        bare = Repo(self._base / "origin.git", bare=True)
        address = address or "https://git.example/made-up.git"
        config = Path(self.environ["GIT_CONFIG_GLOBAL"])
        with config.open("a") as file:
            file.write(f'[url "{bare.path.as_uri()}"]\n\tinsteadOf = "{address}"\n')
        self.repo.git("remote", "add", "origin", address)
        branch = self.repo.git("symbolic-ref", "--short", "HEAD")
        self.repo.git("push", "-q", str(bare.path), f"{branch}:{branch}")


def _ups(location: str) -> int:
    parts = Path(location).parts
    return next((at for at, part in enumerate(parts) if part != ".."), len(parts))


def _source(flows: list[Flow]) -> str:
    lines = ["from prefect import flow", ""]
    for flow in {item.qualname: item for item in flows}.values():
        names = [name for name in sorted(flow.parameters) if name.isidentifier()]
        owner, _, function = flow.qualname.rpartition(".")
        inputs = ", ".join([*(["self"] if owner else []), *(f"{name}=None" for name in names)])
        said = f"(name={flow.name!r})" if flow.name else ""
        indent = "    " if owner else ""
        lines += [f"class {owner}:"] if owner else []
        lines += [f"{indent}@flow{said}", f"{indent}def {function}({inputs}):"]
        lines += [f'{indent}    """Made up."""', ""]
    return "\n".join(lines)
