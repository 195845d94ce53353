"""Grammar of what is handed to git: addresses, branches, commits."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from gitops_flow.errors import GitError
from gitops_flow.redact import redact

_SCHEMES = ("https", "http", "ssh", "git", "file")
_SCP = re.compile(
    r"(?P<user>[A-Za-z0-9._-]+@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<path>[^:].*)"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# git-check-ref-format(1), for one branch name.
_BAD_BRANCH = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|\.$|/$|^/|^-|^@$"
)
_DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


def check_commit(commit: str) -> str:
    """Return ``commit`` if it is 40 lower-case hex digits, else raise GitError."""
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise GitError(
            f"{commit!r} is not a full commit id",
            hint="a pin is 40 lower-case hexadecimal digits",
        )
    return commit


def check_branch(branch: str) -> str:
    """Return ``branch`` if git accepts it as a branch name, else raise GitError."""
    if not branch or _BAD_BRANCH.search(branch) or branch == "HEAD":
        raise GitError(
            f"{branch!r} is not a valid branch name", hint="see git help check-ref-format"
        )
    return branch


def check_address(address: str) -> str:
    """Return ``address`` if it is a URL, scp-like address or absolute path we hand to git.

    Anything git could take for an option or run as a command (``ext::``) is an error,
    and so is a secret in a query, which would stand in process arguments and pull steps.
    """
    shown = redact(address)
    if re.search(r"[\x00-\x1f\x7f]", address):
        raise GitError("the repository address contains a control character")
    if not address or address.startswith("-"):
        raise GitError(f"{shown!r} is not a repository address")
    if "://" in address:
        scheme = address.split("://", 1)[0].lower()
        if scheme not in _SCHEMES:
            raise GitError(
                f"{shown}: transport {scheme!r} is not allowed",
                hint=f"use one of {', '.join(_SCHEMES)}, or a path",
            )
        absolute = address.split("://", 1)[1].startswith("/")
        if not (absolute if scheme == "file" else _has_host(address)):
            raise GitError(f"{shown}: the address has no valid host or path")
        if scheme not in ("https", "http") and ":" in address.split("/")[2].rpartition("@")[0]:
            raise GitError(
                f"{shown}: an address of {scheme} takes no password, it would only be shown",
                hint="leave it out; ssh takes a key",
            )
        if (query := re.search(r"[?#].*", address)) and redact(query[0]) != query[0]:
            raise GitError(
                f"{shown}: git does not log in with a secret in an address's query",
                hint="leave it out, and use git's credential helpers, "
                "GITFLOW_CODE_STORE_TOKEN, or a block for workers",
            )
        return address
    if Path(address).is_absolute():
        return address
    # A path that began with a colon would make "helper::address" of it.
    if scp := _SCP.fullmatch(address):
        if scp["host"].startswith("-") or scp["path"].startswith("-"):
            raise GitError(f"{shown!r} is not a repository address")
        return address
    raise GitError(
        f"{shown!r} is not a repository address",
        hint="use a URL, user@host:path, or an absolute path",
    )


def _has_host(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host, user = unquote(parts.hostname or ""), unquote(parts.username or "")
        port = parts.port
    except ValueError:
        return False
    # ssh would take a leading dash for an option; git decodes %2d before it calls ssh.
    return bool(host) and port != 0 and not host.startswith("-") and not user.startswith("-")


def origin(url: str) -> str:
    """``scheme://host[:port]`` of a URL without userinfo; any other address as it is."""
    parts = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/]*@)?([^/]+)", url)
    return f"{parts[1]}://{parts[2]}" if parts else url


def split_userinfo(address: str) -> tuple[str, str | None, str | None]:
    """Take the user name and password out of an http(s) URL.

    Returns:
        ``(address without them, user name or None, password or None)``. An ssh
        user name stays: it is part of the address.
    """
    parts = _parsed(address)
    if parts is None or parts.scheme.lower() not in ("http", "https") or "@" not in parts.netloc:
        return address, None, None
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    clean = parts._replace(netloc=host).geturl()
    return clean, unquote(user) or None, unquote(password) or None


def normalise(address: str) -> str:
    """One spelling for the addresses of one repository: ``host[:port]/path``.

    ``git@host:a/b.git``, ``ssh://git@host/a/b`` and ``https://host/a/b/`` are
    the same repository; scheme, user and ``.git`` do not count.
    """
    if scp := _scp(address):
        return _join(host(address), scp["path"])
    parts = _parsed(address)
    if parts is None or parts.scheme == "file":
        return _trim(parts.path if parts else address)
    return _join(host(address), parts.path)


def host(address: str) -> str:
    """``host`` or ``host:port`` of an address, whatever its scheme; "" for a path.

    The port is left out where it is the scheme's own.
    """
    if scp := _scp(address):
        return scp["host"].lower()
    parts = _parsed(address)
    if parts is None or parts.scheme == "file":
        return ""
    name, port = (parts.hostname or "").lower(), parts.port
    is_default = port is None or port == _DEFAULT_PORTS.get(parts.scheme.lower())
    return name if is_default else f"{name}:{port}"


def local_path(address: str) -> Path | None:
    """Where a repository is that is given by a path or a ``file://`` URL; None for a server's."""
    if address.startswith("file://"):
        parts = _parsed(address)
        return Path(unquote(parts.path)) if parts else None
    return Path(address) if Path(address).is_absolute() else None


def name_of(address: str) -> str:
    """The repository's own name: the last part of its path, without ``.git``."""
    last = _trim(address.replace("\\", "/")).rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "repository"


def _scp(address: str) -> re.Match[str] | None:
    if "://" in address or Path(address).is_absolute():
        return None
    return _SCP.fullmatch(address)


def _parsed(address: str) -> SplitResult | None:
    if "://" not in address:
        return None
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _join(host: str, path: str) -> str:
    return f"{host}/{_trim(path).lstrip('/')}"


def _trim(path: str) -> str:
    path = path.rstrip("/")
    path = path.removesuffix("/.git") if path.endswith("/.git") else path.removesuffix(".git")
    return path.rstrip("/")
