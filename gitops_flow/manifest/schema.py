"""The shape of a ``prefect.yaml``: what each key may hold.

The models take exactly what Prefect 3.8's own take. Keys they do not know are
kept in ``model_extra``, because Prefect ignores most of them silently and we
say so.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from gitops_flow import names, pin
from gitops_flow.errors import GitError
from gitops_flow.git import url
from gitops_flow.manifest.wording import described
from gitops_flow.model import CodeStoreSettings
from gitops_flow.names import did_you_mean
from gitops_flow.redact import redact

# What ``gitflow: {ignore: [...]}`` can leave to the server.
LEAVABLE = ("paused", "schedules.active")

_BLOCK = re.compile(r"\{\{\s*prefect\.blocks\.[\w.\-\[\]]+\s*\}\}")
_SIZE = re.compile(r"(?i)\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def wrong(message: str, hint: str | None = None) -> PydanticCustomError:
    """The error for a value, in the words that the user will read."""
    return PydanticCustomError("gitflow", "{message}", {"message": message, "hint": hint})


def _steps(value: Any) -> Any:
    # One step may be written without the list around it.
    if isinstance(value, dict):
        return [value] if value else None
    return value


def _tags(value: Any) -> Any:
    if value is None or isinstance(value, str | list):
        return value
    raise wrong(f"expected a list of tags, got {described(value)}", "write [tag, other-tag]")


def _limit(value: Any) -> Any:
    return value if value is None or isinstance(value, dict) else {"limit": value}


def _flag(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    raise wrong("expected true or false")


def _legacy(value: Any) -> Any:
    return None if value == {} else value


def _anchor(value: Any) -> Any:
    if value is None or isinstance(value, str | datetime.date):
        return value
    raise wrong("expected a date and time", "write it as '2024-01-31T09:00:00Z'")


def _placeholder(value: Any) -> Any:
    values = list(value.values()) if isinstance(value, dict) and value else [value]
    if value is not None and not all(isinstance(v, str) and _BLOCK.fullmatch(v) for v in values):
        raise wrong(
            "expected a placeholder; a literal secret would be readable by everybody",
            "write '{{ prefect.blocks.secret.NAME }}'",
        )
    return value


def _no_password(value: str, instead: str = "put it under credentials") -> str:
    scheme, separator, rest = value.partition("://")
    userinfo = rest.partition("/")[0].rpartition("@")[0] if separator else ""
    if userinfo and (":" in userinfo or scheme.lower() in ("http", "https")):
        raise wrong("the address holds a user name or password", instead)
    return value


def address(value: str) -> str:
    """A repository's address, which must hold no password."""
    try:
        return url.check_address(_no_password(value))
    except GitError as error:
        raise wrong(error.message, error.hint) from None


def _addresses(value: Any) -> Any:
    # One address may be written without the list around it.
    if value == []:
        raise wrong("expected an address", "leave the key out to use the remote's")
    return [value] if isinstance(value, str) else value


def _remote(value: str) -> str:
    # The name of a configured remote, or a relative path, is not an address.
    if "://" in value or "@" in value or value.startswith("-"):
        return address(value)
    return value


def _source(value: str) -> str:
    if not value.strip() or not value.isprintable() or redact(value) != value:
        raise wrong("expected the repository's address, or any text", "write github.com/you/shop")
    return value.strip()


def _branch(value: str) -> str:
    try:
        return url.check_branch(value)
    except GitError as error:
        raise wrong(error.message, error.hint) from None


def _size(value: Any) -> Any:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    size_text = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(float(size_text[1]) * _UNITS[(size_text[2] or "").lower()]) if size_text else 0
    if size <= 0:
        raise wrong("expected a size above 0", "write bytes, or for example 50MB")
    return size


def _leavable(value: str) -> str:
    if value not in LEAVABLE:
        hint = did_you_mean(value, LEAVABLE)
        raise wrong(f"expected {' or '.join(LEAVABLE)}, got {described(value)}", hint)
    return value


def _suffix(value: str) -> str:
    if "{{" in value:
        raise wrong("expected plain text, got a placeholder", "write the suffix itself")
    try:
        return names.suffix(value)
    except ValueError as error:
        raise wrong(str(error)) from None


def _api_url(value: str) -> str:
    address = _no_password(value, "set PREFECT_API_AUTH_STRING, or name a profile that has it")
    if not address.lower().startswith(("http://", "https://")) or not address.isprintable():
        raise wrong(
            "expected the address of a Prefect API", "write https://prefect.example.com/api"
        )
    return address.rstrip("/")


def _requirement(value: str) -> str:
    if not pin.names_one_package(value):
        raise wrong(
            "expected this package with an exact version or a hash; of a name alone, workers would "
            "install whatever somebody put on the index",
            "write 'gitops-flow==VERSION', or 'gitops-flow @ https://HOST/FILE.whl#sha256=DIGEST'",
        )
    _no_password(value.partition("@")[2].strip().removeprefix("git+"))
    return value


Steps = Annotated[list[dict[str, Any]] | None, BeforeValidator(_steps)]
Flag = Annotated[Any, BeforeValidator(_flag)]
Size = Annotated[int | None, BeforeValidator(_size)]
Suffix = Annotated[str, AfterValidator(_suffix)] | None


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class WorkPoolSection(_Section):
    """``work_pool:`` of a deployment."""

    name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)


class ConcurrencySection(_Section):
    """``concurrency_limit:``, a number or a mapping."""

    limit: Annotated[int, Field(gt=0)] | None = None
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] | None = None
    grace_period_seconds: Annotated[int, Field(ge=60, le=86400)] | None = None


class ScheduleSection(BaseModel):
    """One item of ``schedules:``; Prefect refuses unknown keys here, and so do we."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str | None = None
    interval: datetime.timedelta | None = None
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: Annotated[Any, BeforeValidator(_anchor)] = None
    active: Flag = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    slug: str | None = None
    replaces: str | None = None
    day_or: Flag = None


def _path(value: str) -> str:
    parts = value.split("/")
    if ".." in parts or not any(parts):
        raise wrong(
            f"expected a glob of files in the repository, got {described(value)}",
            "write it relative to the manifest, or from the root with a leading /",
        )
    return value


Paths = Annotated[list[Annotated[str, AfterValidator(_path)]] | None, Field(default=None)]


class DeploymentGitflowSection(BaseModel):
    """``gitflow:`` of a deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: Paths = None


class DeploymentSection(_Section):
    """One item of ``deployments:``."""

    name: str | None = None
    version: str | None = None
    version_type: str | None = None
    tags: Annotated[Any, BeforeValidator(_tags)] = None
    description: str | None = None
    schedule: Annotated[ScheduleSection | None, BeforeValidator(_legacy)] = None
    schedules: list[ScheduleSection] | None = None
    paused: bool | None = None
    concurrency_limit: Annotated[ConcurrencySection | None, BeforeValidator(_limit)] = None
    flow_name: str | None = None
    entrypoint: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    enforce_parameter_schema: bool | None = None
    build: Steps = None
    push: Steps = None
    pull: Steps = None
    work_pool: WorkPoolSection | None = None
    triggers: list[dict[str, Any]] | None = None
    sla: list[Any] | None = None
    gitflow: DeploymentGitflowSection | None = None


class CodeStoreSection(BaseModel):
    """``gitflow: code_store:``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    remote: Annotated[str, AfterValidator(_remote)] | None = None
    branch: Annotated[str, AfterValidator(_branch)] | None = None
    pull_url: Annotated[
        list[Annotated[str, AfterValidator(address)]] | None, BeforeValidator(_addresses)
    ] = None
    credentials: Annotated[Any, BeforeValidator(_placeholder)] = None
    sign: bool | None = None

    def settings(self) -> CodeStoreSettings:
        """The same as a value."""
        addresses = self.pull_url or []
        return CodeStoreSettings(
            remote=self.remote,
            branch=self.branch,
            pull_url=addresses[0] if len(addresses) == 1 else tuple(addresses) or None,
            credentials=self.credentials,
            sign=self.sign,
        )


class OverlayPoolSection(WorkPoolSection):
    """``work_pool:`` in an environment, where a misspelt key is an error; null removes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_variables: dict[str, Any] | None = None  # type: ignore[assignment]


class OverlaySection(BaseModel):
    """What an environment says of deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    work_pool: OverlayPoolSection | None = None
    parameters: dict[str, Any] | None = None
    tags: Annotated[Any, BeforeValidator(_tags)] = None
    schedules: list[ScheduleSection] | None = None
    paused: bool | None = None


class EnvironmentSection(OverlaySection):
    """One of ``gitflow: environments:``."""

    profile: Annotated[str, Field(min_length=1)] | None = None
    api_url: Annotated[str, AfterValidator(_api_url)] | None = None
    suffix: Suffix = None
    deployments: dict[str, OverlaySection | None] | None = None


class GitflowSection(BaseModel):
    """``gitflow:``, which is ours; a misspelt key is an error here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, AfterValidator(_source)] | None = None
    code_store: CodeStoreSection | None = None
    checkout: Literal["pinned", "stock"] = "pinned"
    release: Literal["literal", "atomic"] = "literal"
    requires: Annotated[str, AfterValidator(_requirement)] | None = None
    ignore: list[Annotated[str, AfterValidator(_leavable)]] | None = None
    allow_secrets: list[str] | None = None
    allow_stored_secrets: list[str] | None = None
    max_file_size: Size = None
    max_total_size: Size = None
    submodules: Literal["refuse", "include", "ignore"] = "refuse"
    ignore_submodules: list[str] | None = None
    lfs: Literal["pointers", "include"] = "pointers"
    ci_files: Literal["exclude", "include"] = "exclude"
    paths: Paths = None
    suffix: Suffix = None
    environments: dict[str, EnvironmentSection | None] | None = None


class ManifestSection(_Section):
    """The whole file."""

    prefect_version: str | None = Field(default=None, alias="prefect-version")
    name: str | None = None
    build: Steps = None
    push: Steps = None
    pull: Steps = None
    definitions: Any = None
    deployments: list[DeploymentSection] = Field(default_factory=list)
    gitflow: GitflowSection | None = None
