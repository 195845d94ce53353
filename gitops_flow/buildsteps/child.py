"""Calls step functions in the user's Python, one after another, for :mod:`foreign`.

A program of its own (``python child.py FD``) that loads the standard library
only. FD is a socket: each line that comes is a question in JSON, each line
that goes an answer. Standard output and error are the steps' own. When the
socket closes because the other side was killed, everything here is ended.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

_GRACE = 3.0
_LONGEST_MESSAGE = 4000
# What Prefect installs in place of a package: the version that fits its own.
_EXTRAS = ("kubernetes", "aws", "gcp", "azure", "docker")


class UnknownError(Exception):
    """A module has no such function. ``near`` is the likeliest one meant, or None."""

    def __init__(self, module: str, function: str, near: str | None) -> None:
        super().__init__(f"{module} has no {function}")
        self.module = module
        self.function = function
        self.near = near


class InputsError(Exception):
    """The function does not take these inputs."""


def main(fd: int) -> None:
    """Answer until the socket closes."""
    _forget(Path(__file__).parent)
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(channel, questions, busy), daemon=True).start()
    while (question := questions.get()) is not None:
        busy.set()
        answer = _answer(question)
        sys.stdout.flush()
        sys.stderr.flush()
        busy.clear()
        channel.sendall(json.dumps(answer).encode() + b"\n")


def _listen(
    channel: socket.socket, questions: queue.SimpleQueue[Any], busy: threading.Event
) -> None:
    """Queue what comes; at the end, let an idle process go and end a busy one."""
    with channel.makefile("rb") as lines:
        for line in lines:
            questions.put(json.loads(line))
    questions.put(None)
    if busy.is_set() and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
        time.sleep(_GRACE)
        os.killpg(0, signal.SIGKILL)


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    before = dict(os.environ)
    notes: dict[str, Any] = {}
    try:
        os.chdir(question["cwd"])
        function = _load(question["name"], question["requires"], notes, question["nearby"])
        result = _call(function, question["inputs"])
        result = _plain(result) if isinstance(result, dict) else None
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
            raise
        return {"error": {**_described(error), **notes}}
    after = dict(os.environ)
    changed: dict[str, str | None] = {k: v for k, v in after.items() if before.get(k) != v}
    changed.update((k, None) for k in before if k not in after)
    return {"result": result, "cwd": os.getcwd(), "environ": changed}  # noqa: PTH109


def _call(function: Any, inputs: dict[str, Any]) -> Any:
    try:
        inspect.signature(function).bind(**inputs)
    except TypeError as error:
        raise InputsError(_mismatch(function, inputs, str(error))) from None
    except ValueError:  # a built-in function that does not tell
        pass
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        result = function(**inputs)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(message, file=sys.stderr)  # noqa: T201
    return result


async def _awaited(result: Any) -> Any:
    return await result


def _mismatch(function: Any, inputs: dict[str, Any], said: str) -> str:
    takes = inspect.signature(function).parameters
    open_ = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
    strange = [] if open_ else [name for name in inputs if name not in takes]
    for name in strange:
        said = said if repr(name) in said else f"{said}, and got an unexpected {name!r}"
        if near := difflib.get_close_matches(name, takes, 1):
            return f"{said}; did you mean {near[0]!r}?"
    return f"{said}; it takes {', '.join(takes) or 'none'}"


def _load(name: str, requires: list[str], notes: dict[str, Any], nearby: bool) -> Any:
    """The function ``name``; what it requires is installed if something is not there."""
    try:
        for package in requires:
            if not (module := _module_of(package)).isidentifier():
                raise ImportError(f"{package} is an address")
            _import(module, nearby)
        return _function(name, nearby)
    except ImportError:
        if not requires:
            raise
    notes["installed"] = _install(requires)
    importlib.invalidate_caches()
    return _function(name, nearby)


def _function(name: str, nearby: bool) -> Any:
    if ".py:" in name:
        location, _, path = name.rpartition(":")
        module = _script(location)
    else:
        location, _, path = name.rpartition(":" if ":" in name else ".")
        if not location:
            raise ValueError(f"{name!r} is not the dotted name of a function")
        module = _import(location, nearby)
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            known = [n for n in dir(found) if callable(getattr(found, n, None))]
            near = difflib.get_close_matches(part, known, 1)
            raise UnknownError(location, path, near[0] if near else None)
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} is a {type(found).__name__}, not a function")
    return found


def _import(name: str, nearby: bool) -> Any:
    """Import a module that is installed or, ``nearby``, in the working directory."""
    if not nearby:
        return importlib.import_module(name)
    here = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)


def _script(location: str) -> Any:
    path = Path(location).resolve()
    # Under a name that no installed module can have.
    name = f"gitflow_step_{re.sub(r'[^0-9A-Za-z]', '_', str(path))}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory", location)
    sys.path[:0] = [part for part in (str(path.parent), os.getcwd()) if part not in sys.path]  # noqa: PTH109
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{location} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_of(requirement: str) -> str:
    """The module that a requirement such as ``prefect-aws[s3]>=0.4`` is taken to bring."""
    return re.split(r"[<>=!~;@\[\s]", requirement.strip(), maxsplit=1)[0].replace("-", "_")


def _install(requires: list[str]) -> int | None:
    """Install with uv or pip; the exit status, None when neither is there."""
    wanted = [
        f"prefect[{name.removeprefix('prefect-')}]"
        if name.startswith("prefect-") and name.removeprefix("prefect-") in _EXTRAS
        else name
        for name in requires
    ]
    try:
        version = importlib.metadata.version("prefect")
        wanted += [] if "+" in version else [f"prefect=={version}"]
    except importlib.metadata.PackageNotFoundError:
        pass
    if (command := _installer()) is None:
        return None
    print(f"installing {', '.join(requires)}", flush=True)  # noqa: T201
    return subprocess.run([*command, *wanted], stdin=subprocess.DEVNULL, check=False).returncode


def _installer() -> list[str] | None:
    uv = shutil.which("uv")
    if importlib.util.find_spec("uv") is not None:
        uv = importlib.import_module("uv").find_uv_bin()
    elif importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install"]
    return [uv, "pip", "install", "--python", sys.executable] if uv else None


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: what it does not know is written out as a text."""
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def _described(error: BaseException) -> dict[str, Any]:
    if isinstance(error, UnknownError):
        told = {"module": error.module, "function": error.function, "near": error.near}
        return {"kind": "function", **told}
    if isinstance(error, InputsError):
        return {"kind": "inputs", "message": str(error)}
    if isinstance(error, ModuleNotFoundError) and error.name:
        return {"kind": "module", "module": error.name, "where": _place(error)}
    status = getattr(error, "returncode", None)
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    return {
        "kind": "raised",
        "type": type(error).__name__,
        "message": str(error)[:_LONGEST_MESSAGE],
        "status": status if isinstance(status, int) else None,
        "where": _place(error),
    }


def _place(error: BaseException) -> str | None:
    """``file:line`` of the user's code, as far down as it goes; of any code if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_near(error.filename)}:{error.lineno}"
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, importlib.__file__)
        and not frame.filename.startswith("<")
    ]
    own = [
        frame for frame in frames if _near(frame[0]) != frame[0] and "site-packages" not in frame[0]
    ]
    for filename, line in reversed(own or frames):
        return f"{_near(filename)}:{line}"
    return None


def _near(filename: str) -> str:
    """A file's name from here, when it is below here."""
    try:
        return str(Path(filename).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return filename


def _forget(directory: Path) -> None:
    # Python puts a script's directory first; its files must not hide the user's.
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(directory):
        del sys.path[0]


if __name__ == "__main__":
    main(int(sys.argv[1]))
