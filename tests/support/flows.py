"""Flows as Prefect itself sees them, which imports them: the oracle of the static reader."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gitops_flow import flows
from gitops_flow.model import FlowInfo

Tree = Mapping[str, str]


def write(root: Path, tree: Tree) -> Path:
    """Write files below ``root``, each dedented; returns ``root``."""
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return root


def read(root: Path, entrypoint: str, flow_name: str | None = None) -> FlowInfo:
    """What the static reader says of a flow on disk."""

    def content(path: str) -> bytes | None:
        found = root / path
        return found.read_bytes() if found.is_file() else None

    return flows.read(content, entrypoint, flow_name=flow_name)


@contextlib.contextmanager
def imports_end_here(root: Path) -> Iterator[None]:
    path, directory, modules = list(sys.path), os.getcwd(), set(sys.modules)
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(directory)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            places = [file] if file else list(getattr(sys.modules[name], "__path__", ()))
            if any(str(place).startswith(str(root)) for place in places):
                del sys.modules[name]


def prefects(root: Path, entrypoint: str) -> dict[str, Any]:
    """Name, description, version and parameter schema, as ``prefect deploy`` would have them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.flows import load_flow_from_entrypoint
        from prefect.utilities.callables import parameter_schema

        with imports_end_here(root):
            flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
            schema = parameter_schema(flow).model_dump(exclude_unset=True, mode="json")
            found = {
                "name": flow.name,
                "description": flow.description,
                "version": flow.version,
                "parameter_schema": json.loads(json.dumps(schema)),
            }
    digests = {
        hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in root.rglob("*.py")
    }
    if found["version"] in digests:
        found["version"] = None  # Prefect's stand-in for a version that is not given
    return found


def ours(info: FlowInfo) -> dict[str, Any]:
    """The same of what the static reader found."""
    return {
        "name": info.name,
        "description": info.description,
        "version": info.version,
        "parameter_schema": json.loads(json.dumps(info.parameter_schema)),
    }
