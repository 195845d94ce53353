"""Environment, files and flags to one frozen object. Nothing here talks to a server."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitops_flow import files
from gitops_flow.errors import UsageError
from gitops_flow.model import CodeStoreSettings, PrefectConnection
from gitops_flow.redact import redact
from gitops_flow.settings import trust
from gitops_flow.settings.sources import NamedServer, Sources, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NamedServer", "Settings", "load"]

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works with.

    ``prefect`` is None when no API address is configured, or when it is ``untrusted``:
    then files of the working tree would send the user's credentials somewhere.
    ``project`` is the root of the working tree, ``asked_trust`` what those files decide, whether it is trusted or not. ``cache_dir``
    may be deleted at any time; ``data_dir`` holds what may not.
    """

    prefect: PrefectConnection | None
    default_work_pool: str | None
    code_store: CodeStoreSettings
    cache_dir: Path
    data_dir: Path
    project: Path = Path()
    profile: str = ""
    asked_trust: trust.Decision | None = None
    untrusted: bool = False

    def require_prefect(self) -> PrefectConnection:
        """The connection, or a :class:`UsageError` that says how to configure or trust one."""
        if self.untrusted and self.asked_trust is not None:
            raise self.asked_trust.refusal()
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
    directory: Path | None = None,
    profile: str | None = None,
    code_store: CodeStoreSettings | None = None,
    named: NamedServer | None = None,
) -> Settings:
    """Collect the settings, with Prefect's own precedence for Prefect's own.

    Flags beat the environment, which beats ``.env``, ``prefect.toml`` and
    ``pyproject.toml`` beside the manifest, which beat the active profile.
    The server that an environment of the manifest names goes before all but ``profile``.

    Args:
        environ: the environment.
        cwd: where the command runs, absolute.
        directory: the manifest's directory, ``cwd`` when it is left out; see :class:`Sources`.
        profile: a Prefect profile to use instead of the active one.
        code_store: what was asked for on the command line.
        named: the server that the manifest names.

    Raises:
        UsageError: a file or a value cannot be understood.
    """
    sources = Sources(environ, cwd, directory or cwd, profile, None if profile else named)
    pool = sources.get(
        "PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME",
        "PREFECT_DEFAULT_WORK_POOL_NAME",
        path=("deployments", "default_work_pool_name"),
    )
    data_dir = _directory(environ, "data", cwd)
    connection, asked = _connection(sources, environ)
    untrusted = asked is not None and not trust.is_trusted(asked, environ, data_dir)
    return Settings(
        prefect=None if untrusted else connection,
        default_work_pool=_text(pool) if pool else None,
        code_store=_code_store(environ, code_store or CodeStoreSettings()),
        cache_dir=_directory(environ, "cache", cwd),
        data_dir=data_dir,
        project=sources.root,
        profile=sources.profile_name,
        asked_trust=asked,
        untrusted=untrusted,
    )


def _connection(
    sources: Sources, environ: Mapping[str, str]
) -> tuple[PrefectConnection | None, trust.Decision | None]:
    """The connection, and what has to be trusted before it is used."""

    def of_api(name: str) -> Value | None:
        return sources.get(f"PREFECT_API_{name.upper()}", path=("api", name))

    def of_client(name: str) -> Value | None:
        return sources.get(f"PREFECT_CLIENT_{name.upper()}", path=("client", name))

    url = of_api("url")
    if url is None or not (address := (_text(url) or "").strip()):
        return None, None
    _check_address(address, url)
    auth_string, key, headers = of_api("auth_string"), of_api("key"), of_client("custom_headers")
    skip, ca_file = of_api("tls_insecure_skip_verify"), of_api("ssl_cert_file")
    timeout, retries = of_api("request_timeout"), of_client("max_retries")
    csrf = of_client("csrf_support_enabled")
    connection = PrefectConnection(
        api_url=address.rstrip("/"),
        auth_string=_text(auth_string) if auth_string else None,
        api_key=_text(key) if key else None,
        headers=_headers(headers) if headers else (),
        tls_verify=not _boolean(skip) if skip else True,
        ca_file=_ca_file(sources, ca_file) or environ.get("SSL_CERT_FILE") or None,
        timeout=_number(timeout, at_least=0.001) if timeout else 60.0,
        max_retries=_whole(retries) if retries else 5,
        csrf=_boolean(csrf) if csrf else True,
        named_by=_named_by(sources, url),
    )
    secret_address = "@" in address.partition("://")[2].partition("/")[0] or len(url.origins) > 1
    credentials = {
        "address": url if secret_address else None,
        "auth_string": auth_string if connection.auth_string else None,
        "key": key if connection.api_key else None,
        "headers": headers if connection.headers else None,
    }
    asked = trust.decision(
        sources.root,
        url,
        _switches(connection, skip, ca_file, headers),
        [value for value in credentials.values() if value is not None],
        environment=named.environment if (named := sources.named) else None,
    )
    return connection, asked


def _check_address(address: str, url: Value) -> None:
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


def _ca_file(sources: Sources, found: Value | None) -> str | None:
    """The certificate file; in a file of the working tree a relative path begins beside it."""
    path = _text(found) if found else None
    if not path or found is None or found.origins == {None}:
        return path
    return str(sources.directory / path)


def _switches(
    connection: PrefectConnection, skip: Value | None, ca_file: Value | None, headers: Value | None
) -> dict[str, Value]:
    """What else than the address decides where credentials can go, by a phrase for it.

    The phrases hold what was trusted: another certificate file is another phrase.
    """
    switches = {}
    if connection.api_url.lower().startswith("https:"):
        if skip and not connection.tls_verify:
            switches["TLS verification (off)"] = skip
        elif ca_file and connection.ca_file and _text(ca_file):
            path = Path(connection.ca_file)
            try:
                content = trust.digest(path.read_bytes())
            except OSError:
                content = "not readable"
            switches[f"the certificate file {path} ({content})"] = ca_file
    if headers and connection.headers:
        # A header can lead a request elsewhere, as "Host" does behind a shared proxy.
        names = ", ".join(name for name, _ in connection.headers)
        told = redact(f"the custom headers {names} ({trust.digest(connection.headers)})")
        switches[told] = headers
    return switches


def _named_by(sources: Sources, url: Value) -> str:
    """Who names the server, in a word or two: a variable, a profile, a file of the project."""
    if url.where.startswith(f"{sources.profiles_path}: ") or url.where.startswith("None: "):
        return f"profile {sources.profile_name}"
    return url.where.removeprefix(f"{sources.root}/")


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


def _directory(environ: Mapping[str, str], kind: Literal["cache", "data"], cwd: Path) -> Path:
    directory = files.own_directory(environ, kind, cwd)
    if directory is None:
        raise UsageError(
            f"there is no place for gitflow's {kind} directory: this user has no home directory",
            hint=f"set HOME, or GITFLOW_{kind.upper()}_DIR to a path",
        )
    return directory


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
