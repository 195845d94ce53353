"""How a source reaches git, its code store and Prefect: what ``gitflow.yaml`` names, read now."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import settings
from gitops_flow.controller.repository import Login
from gitops_flow.errors import UsageError
from gitops_flow.git import url
from gitops_flow.git.command import Auth
from gitops_flow.git.environment import GitEnvironment
from gitops_flow.model import CodeStoreSettings, PrefectConnection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gitops_flow.controller.config import Config, PrefectSection, SourceSection
    from gitops_flow.settings import Settings

# What a manifest may fill in with {{ $NAME }}, and what its steps see, of our own environment:
# whoever can push must not read what else is in it.
_HARMLESS = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")


def harmless(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the controller's environment that sources may see."""
    return {name: environ[name] for name in _HARMLESS if name in environ}


def address(name: str, section: SourceSection, config: Config, data: Path) -> str:
    """Where a source's repository is."""
    if section.repository is None:
        return str(data / "git" / f"{name}.git")
    there = section.repository
    return there if "://" in there or url.host(there) else os.path.realpath(config.base / there)


def identity(name: str, section: SourceSection, config: Config) -> str | None:
    """Which repository it is, where we reach it by a path that nobody else knows."""
    return f"{config.url}/git/{name}.git" if section.hosted and config.url else None


def spread(text: str) -> float:
    """From 0 to 1, and always the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


def login(
    name: str, section: SourceSection, config: Config, environ: Mapping[str, str], data: Path
) -> Login:
    """How a source's repository is reached.

    Raises:
        UsageError: a secret is not there.
    """
    there = address(name, section, config, data)
    how = section.credentials
    if how is None:
        return Login(there, git=GitEnvironment(environ))
    auth = None
    if how.token is not None:
        auth = Auth(there, how.token.read(environ, config.base), how.username)

    def path(file: str | None) -> Path | None:
        return config.base / file if file else None

    git = GitEnvironment(environ, path(how.ssh_key), path(how.known_hosts), path(how.ca_file))
    return Login(there, auth, git)


def of_source(
    name: str, section: SourceSection, config: Config, environ: Mapping[str, str], data: Path
) -> Settings:
    """What a deploy of a source works with.

    Raises:
        UsageError: a secret is not there, or a setting cannot be understood.
    """
    server = section.prefect
    named = None
    if server is not None and server.profile:
        # Of the environment's server neither the address nor the login is meant for it.
        named = settings.NamedServer(name, server.profile, None, config.base, "gitflow.yaml")
    found = settings.load(
        environ,
        config.base,
        directory=data,
        named=named,
        code_store=_code_store(name, section, config, environ, data),
    )
    if server is not None:
        found = replace(found, prefect=_connection(server, found, config, environ))
    return replace(found, data_dir=data)


def _code_store(
    name: str, section: SourceSection, config: Config, environ: Mapping[str, str], data: Path
) -> CodeStoreSettings:
    own, how = section.code_store, section.credentials
    there = address(name, section, config, data)
    store = own.settings() if own else CodeStoreSettings()
    # Whoever can push to the source must not say where we push to, with our rights.
    store = replace(store, remote=store.remote or there)
    if section.hosted and config.url:
        # We push by its path, and workers fetch by an address.
        store = replace(store, pull_url=store.pull_url or identity(name, section, config))
    secret = own.token if own and own.token else None
    place = store.remote or there
    if secret is None:
        secret, place = (how.token if how else None), there
    if secret is None:
        return store
    user = own.username if own and own.token else how.username if how else None
    text = secret.read(environ, config.base)
    return replace(store, token=text, username=user, token_for=(place,))


def _connection(
    server: PrefectSection, found: Settings, config: Config, environ: Mapping[str, str]
) -> PrefectConnection:
    # Who names another server does not mean the login of the one in the environment for it.
    if server.api_url is None and found.prefect is None:
        raise UsageError(
            "no Prefect server is configured",
            hint="write prefect: {api_url: http://127.0.0.1:4200/api} in gitflow.yaml",
        )
    made = (
        PrefectConnection(server.api_url, named_by="gitflow.yaml")
        if server.api_url
        else found.require_prefect()
    )
    if server.auth_string:
        made = replace(made, auth_string=server.auth_string.read(environ, config.base))
    if server.api_key:
        made = replace(made, api_key=server.api_key.read(environ, config.base))
    if server.ca_file:
        made = replace(made, ca_file=str(config.base / server.ca_file))
    return made
