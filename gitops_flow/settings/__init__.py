"""Environment, files and flags to one frozen object. Nothing here talks to a server."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow.errors import UsageError
from gitops_flow.model import CodeStoreSettings, PrefectConnection
from gitops_flow.settings.sources import Sources, Value, user_home

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "load"]

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works with.

    ``prefect`` is None when no API address is configured. ``cache_dir`` may be
    deleted at any time; ``data_dir`` holds what may not.
    """

    prefect: PrefectConnection | None
    default_work_pool: str | None
    code_store: CodeStoreSettings
    cache_dir: Path
    data_dir: Path
    profile: str = ""

    def require_prefect(self) -> PrefectConnection:
        """The connection, or a :class:`UsageError` that says how to configure one."""
        if self.prefect is None:
            active = f" (active profile: {self.profile})" if self.profile else ""
            raise UsageError(
                f"no Prefect server is configured{active}",
                hint="start one with `prefect server start` and set "
                "PREFECT_API_URL=http://127.0.0.1:4200/api, or choose a profile with "
                "`prefect profile use`",
            )
        return self.prefect


def load(
    environ: Mapping[str, str],
    cwd: Path,
    *,
    profile: str | None = None,
    code_store: CodeStoreSettings | None = None,
) -> Settings:
    """Collect the settings, with Prefect's own precedence for Prefect's own.

    Flags beat the environment, which beats ``.env``, ``prefect.toml`` and
    ``pyproject.toml`` in ``cwd``, which beat the active profile.

    Args:
        environ: the environment.
        cwd: where the command runs, absolute.
        profile: a Prefect profile to use instead of the active one.
        code_store: what was asked for on the command line.

    Raises:
        UsageError: a file or a value cannot be understood.
    """
    sources = Sources(environ, cwd, profile)
    pool = sources.get(
        "PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME",
        "PREFECT_DEFAULT_WORK_POOL_NAME",
        path=("deployments", "default_work_pool_name"),
    )
    return Settings(
        prefect=_connection(sources, environ),
        default_work_pool=_text(pool) if pool else None,
        code_store=_code_store(environ, code_store or CodeStoreSettings()),
        cache_dir=_directory(environ, cwd, "GITFLOW_CACHE_DIR", "XDG_CACHE_HOME", ".cache"),
        data_dir=_directory(environ, cwd, "GITFLOW_DATA_DIR", "XDG_DATA_HOME", ".local/share"),
        profile=sources.profile_name,
    )


def _connection(sources: Sources, environ: Mapping[str, str]) -> PrefectConnection | None:
    def text(name: str) -> str | None:
        found = sources.get(f"PREFECT_API_{name.upper()}", path=("api", name))
        return _text(found) if found else None

    url = sources.get("PREFECT_API_URL", path=("api", "url"))
    address = (_text(url) or "").strip() or None if url else None
    if url is None or address is None:
        return None
    if not address.lower().startswith(("http://", "https://")):
        raise UsageError(
            "the address of the Prefect API must begin with http:// or https://", where=url.where
        )
    if "?" in address or "#" in address:
        raise UsageError(
            "the address of the Prefect API must not have a query or a fragment",
            where=url.where,
            hint="a key goes to PREFECT_API_KEY, user and password to PREFECT_API_AUTH_STRING",
        )
    skip = sources.get(
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY", path=("api", "tls_insecure_skip_verify")
    )
    timeout = sources.get("PREFECT_API_REQUEST_TIMEOUT", path=("api", "request_timeout"))
    retries = sources.get("PREFECT_CLIENT_MAX_RETRIES", path=("client", "max_retries"))
    csrf = sources.get(
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", path=("client", "csrf_support_enabled")
    )
    headers = sources.get("PREFECT_CLIENT_CUSTOM_HEADERS", path=("client", "custom_headers"))
    return PrefectConnection(
        api_url=address.rstrip("/"),
        auth_string=text("auth_string"),
        api_key=text("key"),
        headers=_headers(headers) if headers else (),
        tls_verify=not _boolean(skip) if skip else True,
        ca_file=text("ssl_cert_file") or environ.get("SSL_CERT_FILE") or None,
        timeout=_number(timeout, at_least=0.001) if timeout else 60.0,
        max_retries=_whole(retries) if retries else 5,
        csrf=_boolean(csrf) if csrf else True,
    )


def _code_store(environ: Mapping[str, str], asked: CodeStoreSettings) -> CodeStoreSettings:
    def get(name: str) -> str | None:
        return environ.get(f"GITFLOW_CODE_STORE_{name}") or None

    environment = CodeStoreSettings(
        remote=get("REMOTE"),
        branch=get("BRANCH"),
        pull_url=_one_or_more(get("PULL_URL")),
        credentials=get("CREDENTIALS"),
        username=get("USERNAME"),
        token=get("TOKEN"),
        sign=_boolean(Value(said, "GITFLOW_SIGN"))
        if (said := environ.get("GITFLOW_SIGN"))
        else None,
    )
    found = asked.over(environment)
    # Who names the remote here may name where the token goes; a manifest may not.
    named = (found.remote,) if found.remote else ()
    return replace(found, token_for=tuple((get("TOKEN_HOST") or "").split()) or named)


def _one_or_more(value: str | None) -> str | tuple[str, ...] | None:
    addresses = (value or "").split()
    if not addresses:
        return None
    return addresses[0] if len(addresses) == 1 else tuple(addresses)


def _directory(environ: Mapping[str, str], cwd: Path, own: str, xdg: str, default: str) -> Path:
    home = user_home(environ)
    if named := environ.get(own):
        return home / named[2:] if named.startswith("~/") else cwd / named
    base = environ.get(xdg, "")
    # A relative XDG directory is invalid by its specification and is ignored.
    root = Path(base) if Path(base).is_absolute() else home / default
    return root / "gitops-flow"


def _text(found: Value) -> str | None:
    """The text, or None when it is empty: an empty variable switches a setting off."""
    if not isinstance(found.value, str):
        raise UsageError(f"expected text, got {type(found.value).__name__}", where=found.where)
    return found.value or None


def _boolean(found: Value) -> bool:
    word = str(found.value).strip().lower()
    if word not in _YES | _NO:
        raise UsageError("expected true or false", where=found.where)
    return word in _YES


def _number(found: Value, *, at_least: float) -> float:
    try:
        number = float(found.value)
    except (TypeError, ValueError):
        number = float("nan")
    if not at_least <= number < float("inf"):
        raise UsageError("expected a positive number", where=found.where)
    return number


def _whole(found: Value) -> int:
    number = _number(found, at_least=0)
    if number != int(number):
        raise UsageError("expected a whole number", where=found.where)
    return int(number)


def _headers(found: Value) -> tuple[tuple[str, str], ...]:
    data = found.value
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            # The text may hold a token, so it is not repeated.
            data = None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise UsageError(
            'expected a JSON object of texts, such as {"X-Header": "value"}', where=found.where
        )
    return tuple(data.items())
