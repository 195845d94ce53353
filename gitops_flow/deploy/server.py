"""What the Prefect server has: asked early, and for nothing twice."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from gitops_flow import manifest, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import StepPolicy
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_flow.deploy.source import Project
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Automation, Deployment, Json, Source
    from gitops_flow.settings import Settings

    Name = tuple[str, str]


class Server:
    """What the server says of one source; see :func:`connected`."""

    def __init__(
        self, client: prefect.Client, side: Threads, source: Source, *, everything: bool
    ) -> None:
        # For what takes its time elsewhere; everything else is asked in sequence.
        self.side = side
        self.client = client
        self._source = source
        self._listing = side.submit(_listed, client, source, everything)
        self._live: dict[Name, Deployment] = {}
        self._absent: set[Name] = set()
        self._automations: dict[str, tuple[Automation, ...]] | None = None
        self._templates: dict[str, dict[str, Json]] = {}
        self._variables: dict[str, Json] = {}
        self._queues: dict[str, list[str]] = {}

    def answers(self, project: Project, environ: Mapping[str, str]) -> Answers:
        """The environment, and the blocks and variables that the manifest names."""
        wanted = manifest.lookups(project.manifest, project.chosen, project.target.credentials)
        blocks = prefect.blocks(self.client, wanted.blocks) if wanted.blocks else {}
        variables = self.variables((*wanted.variables, *wanted.left_variables))
        left = self._left(wanted.left_blocks, variables)
        needed = {f"{slug}/{name}" for slug, name in wanted.left_blocks} - (left or set())
        needed |= {f"{slug}/{name}" for slug, name in wanted.blocks} - blocks.keys()
        names: list[str] = []
        # Only where something is missing is it worth a request to say what was meant.
        with contextlib.suppress(ApiError):
            if not {*wanted.variables, *wanted.left_variables} <= variables.keys():
                names += prefect.variable_names(self.client)
            if needed:
                names += prefect.block_names(self.client)
        return manifest.Answers(environ, blocks, variables, names=tuple(names), left=left)

    def _left(
        self, blocks: Iterable[tuple[str, str]], variables: Iterable[str]
    ) -> frozenset[str] | None:
        """What exists of that which workers fill in; None where that may not be asked."""
        try:
            return frozenset({*variables, *prefect.existing_blocks(self.client, blocks)})
        except ApiError as error:
            if error.status != 403:
                raise
            return None

    def live(self, desired: Iterable[Name]) -> list[Deployment]:
        """The deployments of this source, and those called ``(flow, deployment)``."""
        if self._automations is None:
            self._live = {_name(item): item for item in self._listing.result()}
        wanted = set(desired)
        if missing := sorted(wanted - self._live.keys() - self._absent):
            found = prefect.live(self.client, names=missing, mark=None)
            self._live |= {_name(item): item for item in found}
            self._absent |= set(missing) - self._live.keys()
        return list(self._live.values())

    def automations(self, desired: Iterable[Deployment]) -> dict[str, tuple[Automation, ...]]:
        """The automations of this source, and of what it would take over, by deployment id."""
        if self._automations is None:
            items = list(desired)
            mark, wanted = self._source.mark, {_name(item) for item in items}
            former = set(self._source.former_marks)
            named = [each.name for item in items for each in item.automations]
            strangers = [
                item.id or ""
                for name, item in self._live.items()
                if mark not in item.tags and (name in wanted or former.intersection(item.tags))
            ]
            self._automations = prefect.live_automations(
                self.client, mark, unmarked=strangers, names=named
            )
        return self._automations

    def templates(self, pools: Iterable[str]) -> dict[str, dict[str, Json]]:
        """The schema of the job variables of each of these work pools that exists."""
        if missing := sorted(set(pools) - self._templates.keys()):
            self._templates |= prefect.pool_variables(self.client, missing)
        return self._templates

    def queues(self, pool: str) -> list[str]:
        """The names of the queues of a work pool that exists."""
        if pool not in self._queues:
            self._queues[pool] = prefect.queue_names(self.client, pool)
        return self._queues[pool]

    def variables(self, names: Iterable[str]) -> dict[str, Json]:
        """The values of those of these Prefect variables that exist."""
        if missing := sorted(set(names) - self._variables.keys()):
            self._variables |= prefect.variables(self.client, missing)
        return self._variables


@contextlib.contextmanager
def connected(
    project: Project, clients: prefect.Clients | None, *, everything: bool = False
) -> Iterator[Server]:
    """Have the server list what a source owns, while the caller does something else.

    The listing is the slowest part of a deploy that changes nothing: it is
    asked for before the modules that do the rest are even loaded.

    Args:
        project: the source, and the settings that name the server.
        clients: whose connection is used; None opens one, and closes it.
        everything: list all deployments there are; something may be deleted then.

    Raises:
        GitflowError: the settings name no server.
    """
    connection = project.settings.require_prefect()
    opened = prefect.Client(connection) if clients is None else clients.borrow(connection)
    with opened as client, Threads(2) as side:
        yield Server(client, side, project.source, everything=everything)


def every_step(settings: Settings, environ: Mapping[str, str]) -> StepPolicy:
    """All steps, with ``environ`` and the server's address and credentials: what a user runs."""
    return StepPolicy(None, {**environ, **server_environment(settings)})


def server_environment(settings: Settings) -> dict[str, str]:
    """The server that is deployed to, for programs that import Prefect, whatever named it."""
    if (connection := settings.prefect) is None:
        return {}
    variables = {"PREFECT_API_URL": connection.api_url}
    if connection.auth_string:
        variables["PREFECT_API_AUTH_STRING"] = connection.auth_string
    if connection.api_key:
        variables["PREFECT_API_KEY"] = connection.api_key
    if connection.headers:
        variables["PREFECT_CLIENT_CUSTOM_HEADERS"] = json.dumps(dict(connection.headers))
    if connection.ca_file:
        variables["PREFECT_API_SSL_CERT_FILE"] = connection.ca_file
    # Always said, since a file of the working tree may say otherwise of another server.
    variables["PREFECT_API_TLS_INSECURE_SKIP_VERIFY"] = str(not connection.tls_verify).lower()
    return variables


def _listed(client: prefect.Client, source: Source, everything: bool) -> list[Deployment]:
    return prefect.live(client, names=None, mark=None) if everything else owned(client, source)


def owned(client: prefect.Client, source: Source) -> list[Deployment]:
    """What carries one of the marks of a source's repository.

    A source that had another name, or no remote, owns what its mark of then is on.
    """
    found = [
        item
        for mark in source.repository_marks
        for item in prefect.live(client, names=None, mark=mark)
    ]
    return list({item.id: item for item in found}.values())


def _name(item: Deployment) -> Name:
    return item.flow_name, item.name
