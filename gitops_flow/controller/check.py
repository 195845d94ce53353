"""Whether what ``gitflow.yaml`` names answers: repositories and Prefect servers; nothing is changed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import prefect
from gitops_flow.controller import access
from gitops_flow.controller.repository import ASK_SECONDS, Refs, patterns
from gitops_flow.errors import GitflowError
from gitops_flow.git import environment, remote
from gitops_flow.prefect.versions import text
from gitops_flow.redact import redact
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gitops_flow.controller.config import Config, SourceSection
    from gitops_flow.model import PrefectConnection

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one source: how it is reached, and all that is wrong."""

    name: str
    reached: tuple[str, ...]
    errors: tuple[GitflowError, ...]


def check(config: Config, environ: Mapping[str, str], data: Path) -> Iterator[Checked]:
    """Ask for every source its repository and its server, in the order of the file."""
    servers = _Servers()

    def one(item: tuple[str, SourceSection]) -> Checked:
        reached: list[str] = []
        errors: list[GitflowError] = []
        for ask in (_repository, servers.answer):
            try:
                reached.append(ask(*item, config, environ, data))
            except GitflowError as error:
                errors.append(error)
        return Checked(item[0], tuple(reached), tuple(errors))

    with Threads(_AT_ONCE) as pool:
        yield from pool.map(one, config.sources.items())


def _repository(
    name: str, section: SourceSection, config: Config, environ: Mapping[str, str], data: Path
) -> str:
    login = access.login(name, section, config, environ, data)
    with environment.using(login.git):
        commits, head = remote.list_refs(
            login.address, patterns(section.ref), auth=login.auth, timeout=ASK_SECONDS
        )
    refs = Refs(0.0, commits, head)
    if section.ref and "*" in section.ref:
        return f"{len(refs.branches(section.ref))} branches {section.ref}"
    if (found := refs.find(section.ref)) is None:
        where = redact(login.address)
        raise GitflowError(f"the repository has no {section.ref or 'HEAD'}", where=where)
    return f"{found[0]} at {found[1][:12]}"


class _Servers:
    """Each server is asked once, however many sources it has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[PrefectConnection, str | GitflowError] = {}

    def answer(
        self,
        name: str,
        section: SourceSection,
        config: Config,
        environ: Mapping[str, str],
        data: Path,
    ) -> str:
        settings = access.of_source(name, section, config, environ, data)
        connection = settings.require_prefect()
        with self._lock:
            if connection not in self._answers:
                self._answers[connection] = _server(connection)
            answer = self._answers[connection]
        if isinstance(answer, GitflowError):
            raise answer
        return answer


def _server(connection: PrefectConnection) -> str | GitflowError:
    try:
        # Somebody waits: what is wrong is told at once.
        with prefect.Client(replace(connection, max_retries=0)) as client:
            version = client.version
            client.post("/work_pools/filter", {"limit": 1})  # the login, on Prefect Cloud, too
    except GitflowError as error:
        return error
    told = f" (Prefect {text(version)})" if version else ""
    return f"{redact(connection.api_url)}{told}"
