"""Where the code store is: settings and the repository's remotes to one address. Pure."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.errors import GitError, UsageError
from gitops_flow.git import environment, url
from gitops_flow.git import identity as known
from gitops_flow.git.command import Auth

if TYPE_CHECKING:
    from gitops_flow.git.repository import Repository
    from gitops_flow.model import CodeStoreSettings, Json, Provenance

DEFAULT_BRANCH = "code-store"
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d+)?")
_BLOCK = re.compile(r"\{\{\s*prefect\.(blocks|variables)\.[^}]+\}\}")


@dataclass(frozen=True, slots=True)
class CodeStore:
    """An address that is ready to use.

    ``url`` has no credentials in it; ``auth`` holds the publisher's, if any.
    ``pull_url`` and ``credentials`` are what workers are told; they try
    ``mirrors`` in order when they cannot fetch from the first. ``embedded``
    says that it is a bare repository of our own that may have to be made,
    ``sign`` that releases are signed.
    """

    url: str
    branch: str
    pull_url: str
    credentials: Json
    auth: Auth | None
    embedded: bool
    mirrors: tuple[str, ...] = ()
    sign: bool = False

    @property
    def pull_input(self) -> Json:
        """The pull step's ``repository``: an address, or a list where there are several."""
        return [self.pull_url, *self.mirrors] if self.mirrors else self.pull_url

    @property
    def ref(self) -> str:
        """The full name of the branch."""
        return f"refs/heads/{self.branch}"


def resolve(repository: Repository, settings: CodeStoreSettings, data_dir: Path) -> CodeStore:
    """Find the code store of ``repository``.

    A configured remote wins; else the remote ``origin``; else the only remote;
    else an embedded bare repository under ``data_dir``.

    Raises:
        UsageError: a name that is no remote, several remotes and no ``origin``, or
            an address or branch that git must not be given.
    """
    try:
        return _resolve(repository, settings, data_dir)
    except GitError as error:
        # Whatever it is that git must not be given, a setting says so.
        raise UsageError(error.message, where=error.where, hint=error.hint) from None


def _resolve(repository: Repository, settings: CodeStoreSettings, data_dir: Path) -> CodeStore:
    branch = url.check_branch(settings.branch or DEFAULT_BRANCH)
    _check_credentials(settings.credentials)
    address, embedded = _address(repository, settings.remote, data_dir)
    clean, user, password = url.split_userinfo(url.check_address(address))
    given = settings.pull_url or _fetched_from(repository, settings.remote) or clean
    pull_url, *mirrors = dict.fromkeys(
        url.split_userinfo(url.check_address(each))[0]
        for each in ((given,) if isinstance(given, str) else given)
    )
    secret = settings.token or password or (user if not password else None)
    username = settings.username or (user if password else None)
    auth = Auth(clean, secret, username) if secret and clean.startswith("http") else None
    if auth and settings.token:
        _check_token(repository, settings, clean)
    return CodeStore(
        url=clean,
        branch=branch,
        pull_url=pull_url,
        credentials=settings.credentials,
        auth=auth,
        embedded=embedded,
        mirrors=tuple(mirrors),
        sign=bool(settings.sign),
    )


def _check_credentials(credentials: Json) -> None:
    """Prefect keeps a pull step's inputs in clear, so a secret must not be one."""
    values = credentials.values() if isinstance(credentials, dict) else [credentials]
    if credentials is not None and not any(_BLOCK.search(str(value)) for value in values):
        raise UsageError(
            "the credentials for workers are not a placeholder; Prefect would store them in clear",
            hint="save them in a block and write {{ prefect.blocks.secret.NAME }}",
        )


def _check_token(repository: Repository, settings: CodeStoreSettings, address: str) -> None:
    """Refuse to send the token to a host that nobody but the manifest names.

    A change to the manifest, such as a pull request that CI plans, must not
    decide who gets it.
    """
    named = settings.token_for or _own(repository)
    places = [_place(repository.push_url(each) or each) for each in named]
    if any(_is_at(address, place) for place in places):
        return
    known = " and ".join(map(url.origin, places)) or "no host that is known"
    here = url.origin(address)
    raise UsageError(
        f"GITFLOW_CODE_STORE_TOKEN is for {known}, so it is not sent to {here}",
        where=address,
        hint=f"if it is for that host, set GITFLOW_CODE_STORE_TOKEN_HOST={here}; "
        "if not, unset it, or correct the code store's remote",
    )


def _own(repository: Repository) -> tuple[str, ...]:
    """The remote that is the code store when none is named, if one can be."""
    names = repository.remotes()
    return ("origin",) if "origin" in names else names if len(names) == 1 else ()


def _place(named: str) -> str:
    """An address; of a host alone the https one, as a token is not sent in clear unasked."""
    return f"https://{named}" if _HOST.fullmatch(named) else url.split_userinfo(named)[0]


def _is_at(address: str, place: str) -> bool:
    clear = address.lower().startswith("http:") and not place.lower().startswith("http:")
    return not clear and url.host(address) == url.host(place) != ""


def identities(repository: Repository, named: str | None = None) -> tuple[str, ...]:
    """What tells this repository from others, and what told it before, newest first.

    The first is what the manifest has ``named``, else the same text for all the remote's
    addresses, else the path.
    """
    remote = _identifying(repository)
    if remote is None:
        return tuple(filter(None, (named and known.of(named), str(repository.root))))
    fetched = _absolute(repository, repository.fetch_url(remote) or "")
    names = [known.of(named)] if named else []
    names.append(known.of(known.without_alias(fetched, repository.setting("core.sshcommand"))))
    # Earlier versions took each spelling for a repository of its own, and the last address.
    last = repository.setting(f"remote.{remote}.pushurl") or repository.setting(
        f"remote.{remote}.url"
    )
    names.append(url.normalise(_absolute(repository, last or fetched)))
    return tuple(dict.fromkeys(names))


def _identifying(repository: Repository) -> str | None:
    """The remote whose address says which repository this is."""
    names = repository.remotes()
    return "origin" if "origin" in names else names[0] if names else None


def name_of(repository: Repository) -> str:
    """The repository's own name, from its remote's address or else its path."""
    remote = _identifying(repository)
    return url.name_of((remote and repository.fetch_url(remote)) or str(repository.root))


def _fetched_from(repository: Repository, remote: str | None) -> str | None:
    """Where workers fetch what is pushed to a remote, when that has two addresses."""
    names = (remote,) if remote else _own(repository)
    fetched = next((repository.fetch_url(each) for each in names), None)
    return _absolute(repository, fetched) if fetched else None


def _address(repository: Repository, remote: str | None, data_dir: Path) -> tuple[str, bool]:
    names = repository.remotes()
    if remote is not None:
        if pushed := repository.push_url(remote):
            return _absolute(repository, pushed), False
        if "/" not in remote and ":" not in remote:
            known = f"the remotes are: {', '.join(names)}" if names else "there are no remotes"
            raise UsageError(
                f"the code store's remote {remote!r} is not a remote of this repository",
                where=str(repository.root),
                hint=f"{known}; a URL or an absolute path works too",
            )
        return _absolute(repository, remote), False
    for own in _own(repository):
        if pushed := repository.push_url(own):
            return _absolute(repository, pushed), False
    if names:
        raise UsageError(
            f"which remote is the code store? There is no origin, but {', '.join(names)}",
            where=str(repository.root),
            hint="name one with ‹remote›, or gitflow: {code_store: {remote: NAME}} in the manifest",
        )
    digest = hashlib.sha256(str(repository.root).encode("utf-8", "surrogateescape")).hexdigest()
    name = url.name_of(str(repository.root))
    return str(data_dir / "code-stores" / f"{name}-{digest[:8]}.git"), True


def _absolute(repository: Repository, address: str) -> str:
    """A relative path in a configuration is meant from the repository's root."""
    if Path(address).is_absolute():
        # One place may be written in several ways: up/../and/down.
        return os.path.normpath(address)
    if "://" in address:
        return address
    if address.startswith((".", "~")) or (repository.root / address).exists():
        path = files.from_home(address, environment.current().environ)
        return str((repository.root / path).resolve())
    return address


def origin_inputs(origin: Provenance) -> dict[str, Json]:
    """Where a snapshot came from, as the ``source`` input of the pull step."""
    return {
        "name": _plain(origin.source),
        "commit": origin.commit,
        "dirty": origin.dirty,
        "author": _plain(origin.author),
    }


def _plain(text: str) -> str:
    """Text that Prefect's templating leaves alone, and JSON can carry."""
    text = text.replace("{{", "{ {").replace("}}", "} }")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
