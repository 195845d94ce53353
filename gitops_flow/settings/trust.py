"""Whether the user's credentials may go where a file of the working tree sends them.

A checkout may be anybody's: a pull request can change ``prefect.toml``. What such a
file decides of the connection gets credentials from that same file alone, unless the
user has said that this server is theirs. That is kept in the data directory, outside
the tree, for one project and one address.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.errors import UsageError
from gitops_flow.git.url import split_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gitops_flow.model import Json
    from gitops_flow.settings.sources import Value

VARIABLE = "GITFLOW_TRUSTED_SERVERS"
_FILE = "trusted-servers.json"


@dataclass(frozen=True, slots=True)
class Decision:
    """What files of the working tree decide of a connection that gets credentials from elsewhere.

    ``address`` is the server's, as it is written and without secrets. ``named`` says that
    a file of the tree names it. ``terms`` are what else such files decide, each as a phrase.
    ``places`` say where all of this is written, ``credentials`` where those come from.
    ``environment`` is the manifest's that was asked for.
    """

    project: Path
    address: str
    named: bool
    terms: tuple[str, ...]
    places: tuple[str, ...]
    credentials: tuple[str, ...]
    environment: str | None = None

    def refusal(self) -> UsageError:
        """The error that says why nothing is sent, and how to allow it."""
        named = (f"the address {self.address}",) if self.named else ()
        command = f"gitflow trust {shlex.quote(self.address)}"
        command += f" ‹env› {self.environment}" if self.environment else ""
        variable = f"{VARIABLE}={shlex.quote(self.address)}"
        return UsageError(
            f"a file of the working tree decides {' and '.join((*named, *self.terms))}, but the "
            f"credentials come from elsewhere ({', '.join(self.credentials)}); nothing was sent",
            where=", ".join(self.places),
            hint=f"if this is your server, run `{command}`"
            + (f", or in CI set {variable}" if not self.terms else ""),
        )


@dataclass(frozen=True, slots=True)
class Trusted:
    """A server that the user trusts for one project; ``project`` is its root's path."""

    project: str
    address: str
    terms: tuple[str, ...] = ()


def decision(
    project: Path,
    address: Value,
    switches: Mapping[str, Value],
    credentials: Sequence[Value],
    *,
    environment: str | None = None,
) -> Decision | None:
    """What has to be trusted before a request is made; None when nothing has.

    Args:
        project: the root of the working tree.
        address: the server's.
        switches: what else decides where credentials can go, by a phrase for it.
        credentials: whatever is secret, the address too if something secret is in it.
        environment: the manifest's that was asked for.
    """
    decided = [address, *switches.values()]
    files = {origin for value in decided for origin in value.origins if origin is not None}
    senders = {origin for value in credentials for origin in value.origins}
    if not files or not senders or (len(files) == 1 and senders == files):
        return None
    told = [value for value in decided if value.origins & files]
    elsewhere = [value for value in credentials if value.origins - files or len(files) > 1]
    return Decision(
        project,
        shown_address(str(address.written)),
        bool(address.origins & files),
        tuple(phrase for phrase, value in switches.items() if value.origins & files),
        tuple(dict.fromkeys(value.where for value in told)),
        tuple(dict.fromkeys(value.where for value in elsewhere)),
        environment,
    )


def is_trusted(asked: Decision, environ: Mapping[str, str], data_dir: Path) -> bool:
    """Whether the user has said so: in the environment, of an address, or by ``gitflow trust``."""
    named = {shown_address(each) for each in environ.get(VARIABLE, "").split()}
    if asked.address in named and not asked.terms:
        return True
    if _is_inside(data_dir, asked.project):
        return False
    return any(
        (each.project, each.address) == (str(asked.project), asked.address)
        and set(asked.terms) <= set(each.terms)
        for each in listed(data_dir)
    )


def listed(data_dir: Path) -> list[Trusted]:
    """What ``gitflow trust`` has written.

    Raises:
        UsageError: the file cannot be read.
    """
    path = data_dir / _FILE
    try:
        data = json.loads(path.read_bytes())
        return [
            Trusted(str(each["project"]), str(each["address"]), tuple(map(str, each["terms"])))
            for each in data["trusted"]
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, LookupError, TypeError, RecursionError):
        raise UsageError(
            "is not the list that gitflow trust writes",
            where=str(path),
            hint="remove it, and trust your servers again",
        ) from None


def add(asked: Decision, data_dir: Path) -> None:
    """Trust what the files of the project decide now; nothing else of it stays trusted.

    Raises:
        UsageError: the list cannot be written, or would be a file of the project.
    """
    if _is_inside(data_dir, asked.project):
        raise UsageError(
            "the data directory is inside the project, whose files must not say what is trusted",
            where=str(data_dir),
            hint=f"set GITFLOW_DATA_DIR to a directory outside, or use {VARIABLE}",
        )
    entry = Trusted(str(asked.project), asked.address, asked.terms)
    _rewrite(data_dir, entry, entry)


def remove(project: Path, address: str, data_dir: Path) -> bool:
    """Trust an address no more; whether it was trusted.

    Raises:
        UsageError: the list cannot be read or written.
    """
    return _rewrite(data_dir, Trusted(str(project), shown_address(address)), None)


def shown_address(text: str) -> str:
    """An address without secrets, in one spelling."""
    scheme, separator, rest = split_userinfo(text.strip())[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}".rstrip("/")


def digest(content: Json) -> str:
    """Few digits that tell one content from another."""
    text = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:12]


def _is_inside(data_dir: Path, project: Path) -> bool:
    return data_dir.resolve().is_relative_to(project)


def _rewrite(data_dir: Path, old: Trusted, new: Trusted | None) -> bool:
    """Put ``new`` in the place of what is trusted of ``old``'s address; whether there was any."""
    path = data_dir / _FILE
    aside = path.with_name(f".{_FILE}.{os.getpid()}")
    try:
        with files.locked(path.with_name(f".{_FILE}.lock")):
            known = listed(data_dir)
            kept = [
                each for each in known if (each.project, each.address) != (old.project, old.address)
            ]
            data = [asdict(each) for each in ([*kept, new] if new else kept)]
            # Nobody but the user may read it, and it is there whole or not at all.
            aside.unlink(missing_ok=True)
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"trusted": data}, file, indent=1)
            aside.replace(path)
    except OSError as error:
        raise UsageError(
            f"the list of trusted servers cannot be written: {error.strerror}", where=str(path)
        ) from error
    return len(kept) < len(known)
