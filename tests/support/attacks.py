"""Attacks that are mounted for real, and the defences that are taken out to see what each is worth."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.checkout import fetch
from gitops_flow.checkout.objects import Reader
from gitops_flow.checkout.tree import Listing
from gitops_flow.cli import boundary
from gitops_flow.errors import GitflowError
from gitops_flow.steps import pull_code
from tests.support.releases import Shop
from tests.support.repo import Repo

SECRET = "s3cret-t0ken!"
MANIFEST = """\
name: shop
deployments:
  - {name: main, entrypoint: "%s", work_pool: {name: p}}
"""
FLOW = "from prefect import flow\n\n\n@flow\ndef hello() -> None: ...\n"


@dataclass(frozen=True)
class Layer:
    """A defence: where it is, and what stands there once it is taken out.

    ``name`` is that of a function, constant or property, with its module (and
    class). A function is replaced in every module that imported it. ``instead``
    gets the original.
    """

    name: str
    instead: Callable[[Any], object]
    note: str = ""

    def __str__(self) -> str:
        return self.name + (f" ({self.note})" if self.note else "")

    def take_out(self, patch: pytest.MonkeyPatch) -> None:
        path, _, last = self.name.rpartition(".")
        holder = _held(path)
        original = vars(holder)[last]
        replacement = self.instead(original)
        for place in {id(each): each for each in (holder, *_ours())}.values():
            if vars(place).get(last) is original:
                patch.setattr(place, last, replacement)


@dataclass(frozen=True)
class Attack:
    """``mount`` does it and says whether it came through; each of ``layers`` alone stops it.

    ``line`` is that of the list of attacks to survive.
    """

    line: int
    mount: Callable[[Ground], bool]
    layers: tuple[Layer, ...]
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.line}-{_name(self.mount)}{self.variant and '-'}{self.variant}"

    def undefended(self, patch: pytest.MonkeyPatch, but: Layer | None = None) -> Attack:
        """The same, with all its layers taken out, or all but one."""
        for layer in self.layers:
            if layer is not but:
                layer.take_out(patch)
        return self


class Mounted:
    """Mounts each of ``attacks``: with its defences, without any, and with each alone."""

    attacks: tuple[Attack, ...]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "layer" in metafunc.fixturenames:
            pairs = [
                (each, layer)
                for each in self.attacks
                for layer in each.layers
                if len(each.layers) > 1
            ]
            names = [f"{each}-{layer.name}" for each, layer in pairs]
            metafunc.parametrize(("attack", "layer"), pairs, ids=names)
        else:
            metafunc.parametrize("attack", self.attacks, ids=str)

    def test_the_attack_does_not_come_through(self, attack: Attack, ground: Ground) -> None:
        assert not attack.mount(ground)

    def test_the_attack_comes_through_without_its_defence(
        self, attack: Attack, ground: Ground, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert attack.undefended(monkeypatch).mount(ground)

    def test_each_defence_alone_stops_the_attack(
        self, attack: Attack, layer: Layer, ground: Ground, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not attack.undefended(monkeypatch, but=layer).mount(ground)


def defence(where: str, *, instead: object, note: str = "") -> Layer:
    """A layer that ``instead`` replaces, whatever was there."""
    return Layer(where, lambda _: instead, note)


def argument(dropped: str) -> Layer:
    """An argument that git is given."""

    def without(run: Callable[..., object]) -> object:
        def bare(args: list[str], **more: Any) -> object:
            return run([each for each in args if each != dropped], **more)

        return bare

    return Layer("gitops_flow.git.command.run", without, f"the argument {dropped}")


def setting(*dropped: str, **instead: str) -> Layer:
    """Settings that git is given; ``instead`` takes their place (``protocol_allow="always"``)."""

    def without(config: tuple[tuple[str, str], ...]) -> object:
        kept = [pair for pair in config if not pair[0].startswith(dropped)]
        return (*kept, *((key.replace("_", "."), value) for key, value in instead.items()))

    return Layer("gitops_flow.git.command._CONFIG", without, ", ".join(dropped))


def written_links(root: Path, listing: Listing, source: Reader, _: object = None) -> None:
    """Make the links of a checkout, wherever they lead."""
    contents = source.whole([link.oid for link in listing.links], "blob", 4096)
    for link, target in zip(listing.links, contents, strict=True):
        os.symlink(target, os.fsencode(root) + b"/" + link.path)


class Ground:
    """Where an attack takes place.

    ``canary`` is the file that an injected command makes, ``outside`` a
    directory that nothing may touch or read, ``here`` where a worker pulls.
    """

    def __init__(
        self,
        base: Path,
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
        logged: pytest.LogCaptureFixture,
    ) -> None:
        self.base = base
        self.patch = patch
        self._capture, self._logged = capture, logged
        logged.set_level("DEBUG")
        self.canary = base / "canary"
        self.outside = base / "outside"
        self.here = base / "worker" / "runs" / "run"
        self.outside.mkdir()
        (self.outside / "secret").write_text(SECRET)
        self.here.mkdir(parents=True)
        patch.chdir(self.here)
        # A server that fails is not asked again after a pause.
        patch.setattr(fetch.stop, "pause", lambda _: None)
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    @property
    def ran(self) -> bool:
        return self.canary.exists()

    def script(self, name: str = "script") -> Path:
        """A program that makes the canary."""
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch '{self.canary}'\nexit 1\n")
        path.chmod(0o755)
        return path

    def repo(self, name: str = "project") -> Repo:
        return Repo(self.base / name)

    def shop(self) -> Shop:
        return Shop(self.base / "shop")

    def pull(self, *args: Any, **inputs: Any) -> Path | None:
        """What the pull step hands over; None when it refuses."""
        with contextlib.suppress(GitflowError, OSError, UnicodeError):
            return Path(pull_code(*args, **inputs)["directory"])
        return None

    def gitflow(self, where: Path, *args: str) -> int:
        self.patch.chdir(where)
        return boundary.run(args)

    def told(self, work: Callable[[], object]) -> str:
        """What was shown and logged, with the error if ``work`` fails."""
        error = ""
        try:
            work()
        except GitflowError as failed:
            error = f"{failed} {failed.where} {failed.hint}"
        shown = self._capture.readouterr()
        return error + shown.out + shown.err + self._logged.text


def _ours() -> list[object]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("gitops_flow")]


def _held(path: str) -> Any:
    """The module or class called ``path``."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _name(mount: Callable[[Ground], bool]) -> str:
    return str(getattr(mount, "func", mount).__name__)
