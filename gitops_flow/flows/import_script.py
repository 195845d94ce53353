"""Imports flows and says what Prefect makes of them. A script, run by the user's Python.

Nothing of gitops-flow may be imported here: that Python need not have it.
Standard input holds a JSON object: ``entrypoints``, and ``as_worker`` when all
that matters is whether a run would find its flow. A line of JSON for each
entrypoint goes to what was standard output at the start, which the user's code
does not get to see.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Answer for every entrypoint, in order."""
    question = json.load(sys.stdin)
    answers = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.close(silence)
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as light as can be
    if sys.path and os.path.abspath(sys.path[0] or ".") == here:  # noqa: PTH100
        del sys.path[0]  # the modules beside this script are not the user's
    sys.argv = [""]
    with os.fdopen(answers, "w", encoding="utf-8") as out:
        out.write("\n")
        for entrypoint in question["entrypoints"]:
            answer = _answer(entrypoint, _loaded if question["as_worker"] else _described)
            out.write(json.dumps([entrypoint, answer]) + "\n")
            out.flush()
    # Threads of the user's would keep the process.
    os._exit(0)


def _answer(entrypoint: str, look: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    before = set(sys.modules)
    try:
        return look(entrypoint)
    except BaseException as error:  # noqa: BLE001 - sys.exit() at import is the user's mistake too
        return _failure(error)
    finally:
        _forget(before)


def _load(entrypoint: str) -> Any:
    # By name, so that nothing that reads imports takes this for one of gitops-flow's own.
    load = importlib.import_module("prefect.flows").load_flow_from_entrypoint
    options = {}
    if "use_placeholder_flow" in inspect.signature(load).parameters:
        options["use_placeholder_flow"] = False
    return load(entrypoint, **options)


def _loaded(entrypoint: str) -> dict[str, Any]:
    """Load the flow as a run does, which makes a flow of a function in a file that is none yet."""
    flows = importlib.import_module("prefect.flows")
    try:
        _load(entrypoint)
    except importlib.import_module("prefect.exceptions").MissingFlowError:
        if ":" not in entrypoint:
            raise
        flows.load_function_and_convert_to_flow(entrypoint)
    return {}


def _described(entrypoint: str) -> dict[str, Any]:
    flow = _load(entrypoint)
    callables = importlib.import_module("prefect.utilities.callables")
    schema = callables.parameter_schema(flow).model_dump(exclude_unset=True)
    parameters = inspect.signature(flow.fn).parameters.values()
    version, digest = flow.version, _digest(flow)
    if version and version == digest:
        version = None
    return {
        "file_digest": digest or None,
        "name": flow.name,
        "description": flow.description,
        "version": version,
        "parameter_schema": schema,
        "takes_more": any(each.kind is each.VAR_KEYWORD for each in parameters),
    }


def _digest(flow: Any) -> str:
    """What Prefect takes for a version when none is given."""
    try:
        with open(inspect.getsourcefile(flow.fn) or "", "rb") as file:  # noqa: PTH123
            return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
    except (OSError, TypeError):
        return ""


def _failure(error: BaseException) -> dict[str, Any]:
    # Prefect wraps what a script raises.
    error = getattr(error, "user_exc", None) or error
    root = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118
    where = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith("<"):
            continue  # Python's own import system
        path = os.path.abspath(frame.filename)  # noqa: PTH100
        if path.startswith(root) and "site-packages" not in path:
            where = f"{path[len(root) :]}:{frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{os.path.relpath(error.filename, root)}:{error.lineno}"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the user's exception, with the user's __str__
        message = ""
    kind = type(error).__name__
    missing = isinstance(error, ModuleNotFoundError) and error.name == "prefect" and where is None
    return {"error": kind, "message": message, "where": where, "no_prefect": missing}


def _forget(before: set[str]) -> None:
    """Let the next flow import its own ``models``, not that of another directory."""
    root = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and file.startswith(root) and "site-packages" not in file:
            del sys.modules[name]


if __name__ == "__main__":
    main()
