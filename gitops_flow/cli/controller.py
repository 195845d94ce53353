"""The commands of the controller: run it, check its file, ask it how sources are, and for changes."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import shlex
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from gitops_flow.cli import options, streams
from gitops_flow.errors import GitflowError, UsageError
from gitops_flow.report import errors
from gitops_flow.report.words import CONTROLLER, count, next_lines, shown, worded

if TYPE_CHECKING:
    from gitops_flow.controller.run import Controller
    from gitops_flow.controller.state import SourceState

app = typer.Typer(no_args_is_help=True, help="Keep the sources of gitflow.yaml equal to git.")
_FILE = "gitflow.yaml"
_ADDRESS = "http://127.0.0.1:4300"
_VARIABLE = "GITFLOW_CONTROLLER_URL"
# What listens everywhere is asked here.
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
# Seconds for an answer of the controller; none of them takes one.
_PATIENCE = 30.0

Config = Annotated[
    Path | None, typer.Option(metavar="PATH", help="The configuration (default: gitflow.yaml).")
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Its name in gitflow.yaml.")]


@app.command()
def run(
    config: Config = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="N/M", help="Only one part of the sources, by their names' hashes."),
    ] = None,
    lease: Annotated[
        bool, typer.Option("--lease", help="Take turns with other controllers of this file.")
    ] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Looks that are taken at once.")
    ] = 4,
) -> int:
    """Keep every source equal to git, until Ctrl-C."""
    try:
        from gitops_flow.web import Edge
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed",
            hint="install gitops-flow with its extra: gitops-flow[controller]",
        ) from None
    controller = _controller(
        config, needed=False, shard=_shard(shard), lease=lease, workers=workers
    )
    # Only now: a command that is refused leaves nothing behind in the process that called it.
    _log_lines()
    log = logging.getLogger("gitops_flow.controller")
    signals = _Signals()
    edge = Edge(controller, signals.ended)
    controller.state.listen(_Journal().tell)
    controller.start()
    edge.start()
    log.info("%s: %s", edge.address, count(len(controller.config.sources), "source"))
    if not edge.is_local:
        log.warning("listen is no loopback address: nothing is changed over HTTP")
    number = signals.wait()
    name = signal.Signals(number).name if number else "the HTTP server has ended"
    log.info("%s: no look begins any more, those that have begun are finished", name)
    edge.stop()
    has_ended = controller.stop()
    log.info("ended" if has_ended else "ended; what is half done is made good at the next start")
    return 0 if number and has_ended else 1


@app.command()
def check(
    config: Config = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only the file; ask no repository and no server.")
    ] = False,
) -> int:
    """Check gitflow.yaml, and that all it names answers."""
    controller = _controller(config)
    sources = len(controller.config.sources)
    streams.out(f"{config or _FILE} is right: {count(sources, 'source')}\n")
    if offline:
        return 0
    from gitops_flow.controller.check import check as checked

    failed = 0
    for each in checked(controller.config, os.environ, controller.data):
        failed += bool(each.errors)
        streams.out(shown(f"{each.name}: {'; '.join(each.reached) or 'nothing answers'}") + "\n")
        for error in each.errors:
            streams.out(indent(errors.text(error), "  "))
    return 1 if failed else 0


@app.command()
def status(config: Config = None, as_json: options.AsJson = False) -> int:
    """Show how each source is, what is wrong first."""
    document = _ask(config, "GET", "/api/sources")
    if as_json:
        streams.out(json.dumps(document) + "\n")
        return 0
    from gitops_flow.report import sources

    streams.show(sources.lines(document, datetime.now(UTC)))
    return 0


def sync(source: Source, config: Config = None) -> int:
    """Have the controller deploy a source now, if it differs."""
    _change(config, source, "sync")
    _say(f"{source} is looked at now", "gitflow controller status")
    return 0


def suspend(
    source: Source,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; shown with its state.")] = "",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it ends: 2h, 3d, or 2026-12-01T08:00."),
    ] = None,
    config: Config = None,
) -> int:
    """Have the controller leave a source alone, also after a restart."""
    end = _moment(until) if until else None
    how = {"reason": reason, "author": _user(), "until": end and end.isoformat()}
    _change(config, source, "suspend", how)
    when = f" until {end:%Y-%m-%d %H:%M}" if end else ""
    _say(f"{source} is suspended{when}", f"gitflow resume {shlex.quote(source)}")
    return 0


def resume(source: Source, config: Config = None) -> int:
    """Have the controller look after a suspended source again."""
    _change(config, source, "resume")
    _say(f"{source} is looked after again", "gitflow controller status")
    return 0


def _say(what: str, command: str) -> None:
    streams.out("\n".join((shown(what), *next_lines(command))) + "\n")


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 0 < int(number) <= int(of)):
        raise UsageError(f"--shard: {text!r} is no part", hint="write 2/5 for the second of five")
    return int(number), int(of)


def _controller(config: Path | None, *, needed: bool = True, **more: Any) -> Controller:
    from gitops_flow.controller.run import Controller

    path = Path(_FILE) if config is None and (needed or Path(_FILE).exists()) else config
    return Controller(path, os.environ, Path.cwd(), **more)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _moment(text: str) -> datetime:
    """A point in time, by the clock of this machine; or a duration from now."""
    from pydantic import TypeAdapter, ValidationError

    from gitops_flow.controller.config import Duration

    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        return datetime.now().astimezone() + timedelta(
            seconds=TypeAdapter(Duration).validate_python(text)
        )
    except (ValidationError, OverflowError):
        hint = "write 2h, 3d, or 2026-12-01T08:00"
        raise UsageError(f"--until {text!r} is no time", hint=hint) from None


# What it tells of itself.


class _Signals:
    """The signals that end it: for the first one it waits, at a second one the process is gone."""

    def __init__(self) -> None:
        # The only queue that a signal handler may use.
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._came = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._come)

    def _come(self, number: int, _: object) -> None:
        if self._came:
            os._exit(128 + number)
        self._came = True
        self._queue.put(number)

    def ended(self) -> None:
        """End the wait without a signal."""
        self._queue.put(0)

    def wait(self) -> int:
        """The first signal; 0 for none."""
        return self._queue.get()


class _OneLine(logging.Formatter):
    """An event is a line: what git or a server said must not look like another one of ours."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        text = worded(super().format(record), CONTROLLER)
        return shown(text.rstrip("\n").replace("\n", " | "))


def _log_lines() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("gitops_flow").setLevel(logging.INFO)


class _Journal:
    """Logs what has become of each source; while it fails, the same thing only once."""

    def __init__(self) -> None:
        self._told: dict[str, set[str]] = {}

    def tell(self, before: SourceState | None, after: SourceState | None) -> None:
        """Hear of a change, as :meth:`State.listen` calls it."""
        if after is None:
            return
        level, text = _news(before or after, after)
        told = self._told.setdefault(after.name, set())
        if text in told:
            return
        if after.word == "synced":
            told.clear()
        elif text:
            told.add(text)
        if text:
            logging.getLogger("gitops_flow.controller").log(level, "%s: %s", after.name, text)


def _news(old: SourceState, new: SourceState) -> tuple[int, str]:
    if new.error and new.error != old.error:
        return logging.ERROR, f"{new.word}: {new.error}"
    if new.suspension != old.suspension:
        return logging.INFO, "suspended" if new.suspension else "resumed"
    if new.differences and new.differences != old.differences:
        return logging.WARNING, f"{new.word}: {'; '.join(new.differences)}"
    if new.word == "progressing" != old.word and new.commit:
        return logging.INFO, f"deploying {new.commit[:12]}"
    if new.word == "synced" and (new.word, new.deployed) != (old.word, old.deployed):
        return logging.INFO, f"synced at {(new.deployed or '')[:12]}"
    return logging.INFO, ""


# What is asked of one that runs.


def _change(config: Path | None, source: str, verb: str, how: dict[str, Any] | None = None) -> None:
    _ask(config, "POST", f"/api/sources/{quote(source, safe='')}/{verb}", how or {})


def _ask(config: Path | None, method: str, path: str, content: Any = None) -> dict[str, Any]:
    """What the controller answers.

    Raises:
        GitflowError: it is not there, or refuses.
    """
    import http.client

    address = _address(config)
    parts = urlsplit(address)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    data = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE)
        try:
            connection.request(method, parts.path + path, data, headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        finally:
            connection.close()
    except OSError as error:
        raise GitflowError(
            f"no controller answers: {error.strerror or error}",
            where=address,
            hint=f"start it with `gitflow controller run`, or say in {_VARIABLE} where it is",
            retry=True,
        ) from None
    except (http.client.HTTPException, ValueError):
        told, answer = None, None
    if not isinstance(told, dict) or answer is None:
        hint = f"say in {_VARIABLE} where it is"
        raise GitflowError("what answers there is no controller", where=address, hint=hint)
    if answer.status < 300:
        return told
    refusal = {"message": f"the controller answered {answer.status}", **(told.get("error") or {})}
    made = UsageError if answer.status == 404 else GitflowError
    raise made(
        str(refusal["message"]), where=refusal.get("where") or address, hint=refusal.get("hint")
    )


def _address(config: Path | None) -> str:
    """What the environment names, else the file's ``listen``, else its default."""
    if named := os.environ.get(_VARIABLE, "").rstrip("/"):
        if re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", named):
            return named
        raise UsageError("expected an address", where=_VARIABLE, hint=f"such as {_ADDRESS}")
    if config is None and not Path(_FILE).exists():
        return _ADDRESS
    from gitops_flow.controller import config as configuration

    host, _, port = configuration.load(config or Path(_FILE)).listen.rpartition(":")
    return f"http://{_EVERY_ADDRESS.get(host, host)}:{port}"
