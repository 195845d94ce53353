"""``gitflow.yaml``: what the controller keeps equal to git; every problem at its place."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from gitops_flow.errors import GitError, GitflowError, ProblemsError, UsageError
from gitops_flow.git import url
from gitops_flow.manifest import checks, schema, yaml
from gitops_flow.manifest.schema import wrong
from gitops_flow.manifest.wording import described
from gitops_flow.model import Position, Problem
from gitops_flow.names import did_you_mean
from gitops_flow.worker import signers

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "gitflow.yaml"
# As a file's name, in a URL and in a ref.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.|git$|lock$|$)){0,99}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOMENT = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*\s+([01]?\d|2[0-3]):([0-5]\d)", re.I)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_STEP = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*|[\w./-]+\.py:[A-Za-z_]\w*")


def _duration(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        parts = _DURATION.findall(value) if isinstance(value, str) else []
        is_whole = bool(parts) and not _DURATION.sub("", str(value)).strip()
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts) if is_whole else -1
    if not 0 <= seconds < 1e9:
        raise wrong(f"expected a duration, got {described(value)}", "write 30s, 5m or 1h30m")
    return seconds


def _secret(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        ((kind, where),) = value.items()
        if kind in ("env", "file") and where:
            return value
    told = "a secret must not stand in this file" if isinstance(value, str) else "expected a secret"
    raise wrong(told, "write {env: NAME} or {file: PATH}")


def _secret_file(value: Any) -> Any:
    if isinstance(value, dict) and list(value) == ["file"]:
        return value["file"]
    raise wrong("an ssh key has to be a file", "write {file: PATH}")


def _one_or_more(value: Any) -> Any:
    if value in ([], ""):
        raise wrong("expected a path", "leave the key out for prefect.yaml")
    return [value] if isinstance(value, str) else value


def _in_repository(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or "\0" in value:
        raise wrong(f"expected a path in the repository, got {described(value)}")
    return value


def _repository(value: str) -> str:
    # A relative path is one beside this file.
    relative = ":" not in value and not value.startswith(("/", "-")) and value.isprintable()
    return value if relative and value else schema.address(value)


def _ref(value: str) -> str:
    name = value.removeprefix("refs/heads/").removeprefix("refs/tags/")
    try:
        url.check_branch(name.replace("*", "x"))
    except GitError:
        hint = "write a branch, a tag, or a glob such as 'feature/*'"
        raise wrong(f"expected a branch or a tag, got {described(value)}", hint) from None
    return value


def _listen(value: Any) -> Any:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise wrong(f"expected host:port, got {described(value)}", "write 127.0.0.1:4300")
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise wrong(f"expected an address, got {described(value)}", "write https://flow.example")
    return value.rstrip("/")


def _step(value: str) -> str:
    if not _STEP.fullmatch(value):
        hint = "write the step's name as in the manifest, such as package.module.function"
        raise wrong(f"expected the name of a function, got {described(value)}", hint)
    return value


def _signer(value: str) -> str:
    try:
        signers.parsed([value])
    except GitflowError:
        told = f"expected an ssh public key or a gpg fingerprint, got {described(value)}"
        raise wrong(told, "write 'ssh-ed25519 AAAA...' or 40 hexadecimal digits") from None
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, str) and (found := _MOMENT.fullmatch(value.strip())):
        day = _DAYS.index(found[1].lower())
        return (day * 24 + int(found[2])) * 60 + int(found[3])
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        hint = "write 'Fri 17:00', or '2026-12-24 12:00' for one time"
        raise wrong(
            f"expected a weekday or a date, and a time, got {described(value)}", hint
        ) from None
    return _aware(when)


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError):
        raise wrong(f"there is no time zone {described(value)}", "write Europe/Berlin") from None
    return value


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _suspend(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return {} if value else None
    return {"reason": value} if isinstance(value, str) else value


def _suffix(value: str) -> str:
    if "{branch}" not in value or value.count("{") != 1:
        raise wrong(
            f"expected a text with {{branch}} in it, got {described(value)}", 'write "-{branch}"'
        )
    return value


def _as(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"] if kind == "duration" else "string"})


Duration = Annotated[float, BeforeValidator(_duration), _as("duration")]
Moment = Annotated[int | datetime, BeforeValidator(_moment), _as("moment")]
Paths = list[Annotated[str, AfterValidator(_in_repository)]]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Section):
    """Where a secret is: a variable of the controller's environment, or a file of its own."""

    env: str | None = None
    file: str | None = None

    def read(self, environ: Mapping[str, str], base: Path) -> str:
        """The secret, without the line's end; a relative path begins at ``base``.

        Raises:
            UsageError: it is not there, or empty.
        """
        if self.env is not None:
            text, where = environ.get(self.env, ""), self.env
        else:
            where = str(base / str(self.file))
            try:
                text = Path(where).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                message = f"the file of a secret cannot be read: {reason}"
                raise UsageError(message, where=where, heals="time") from None
        if not text:
            hint = "set it for the controller's process; nothing else is looked at"
            raise UsageError("a secret is empty or missing", where=where, hint=hint, heals="time")
        return text


_Secret = Annotated[Secret, BeforeValidator(_secret)]


class PrefectSection(_Section):
    """``prefect:``, the server; what is left out is taken from the environment or the profile."""

    api_url: Annotated[str, AfterValidator(_url)] | None = None
    auth_string: _Secret | None = None
    api_key: _Secret | None = None
    profile: str | None = None
    ca_file: str | None = None


class CredentialsSection(_Section):
    """``credentials:``, how git logs in at the repository."""

    username: str | None = None
    token: _Secret | None = None
    ssh_key: Annotated[str, BeforeValidator(_secret_file)] | None = None
    known_hosts: str | None = None
    ca_file: str | None = None


class CodeStoreSection(schema.CodeStoreSection):
    """``code_store:``, where releases go: as in the manifest, and how the controller logs in."""

    username: str | None = None
    token: _Secret | None = None


class WebhookSection(_Section):
    """``webhook:``, how a forge's events are known to be its own."""

    secret: _Secret


class SuspendSection(_Section):
    """``suspend:``, that a source is left alone; why, on whose word, and until when."""

    reason: str = ""
    author: str = ""
    until: Annotated[datetime, AfterValidator(_aware)] | None = None


class FreezeSection(_Section):
    """One item of ``freeze:``: no deploy begins in it. Every week, or once."""

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    reason: str = ""

    @model_validator(mode="after")
    def _same_kind(self) -> FreezeSection:
        if type(self.start) is not type(self.end):
            raise wrong("from and to must both be of the week, or both dates")
        return self


class PreviewsSection(_Section):
    """``previews:``, for a ``ref`` that is a glob: each branch under names of its own."""

    suffix: Annotated[str, AfterValidator(_suffix)] = "-{branch}"
    grace: Duration = 3600.0
    limit: Annotated[int, Field(gt=0)] = 50


class Defaults(_Section):
    """``defaults:``, for every source that does not say otherwise."""

    ref: Annotated[str, AfterValidator(_ref)] | None = None
    manifest: Annotated[Paths, BeforeValidator(_one_or_more)] = ["prefect.yaml"]
    paths: Paths = []
    environment: str | None = None
    interval: Annotated[Duration, Field(ge=1)] = 300.0
    prune: bool = False
    heal: bool = False
    steps: list[Annotated[str, AfterValidator(_step)]] = []
    prefect: PrefectSection | None = None
    credentials: CredentialsSection | None = None
    code_store: CodeStoreSection | None = None
    signers: list[Annotated[str, AfterValidator(_signer)]] = []
    freeze: list[FreezeSection] = []


class SourceSection(Defaults):
    """One of ``sources:``."""

    repository: Annotated[str, AfterValidator(_repository)] | None = None
    hosted: bool = False
    suspend: Annotated[SuspendSection | None, BeforeValidator(_suspend)] = None
    webhook: WebhookSection | None = None
    previews: PreviewsSection | None = None


class Config(_Section):
    """The whole file.

    A source has what ``defaults`` say filled in; a section of its own replaces the
    default one whole.
    """

    listen: Annotated[str, BeforeValidator(_listen)] = "127.0.0.1:4300"
    url: Annotated[str, AfterValidator(_url)] | None = None
    data: str | None = None
    prefect: PrefectSection | None = None
    defaults: Defaults = Defaults()
    sources: dict[str, SourceSection] = {}
    _base: Path = PrivateAttr(Path())

    @property
    def base(self) -> Path:
        """The directory that relative paths begin at."""
        return self._base

    def at(self, base: Path) -> Config:
        """This, with relative paths that begin at ``base``."""
        self._base = base
        return self


def load(path: Path) -> Config:
    """Read and check the file at ``path``.

    Raises:
        ProblemsError: with every problem, each with its line and column.
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        reason = f"the configuration cannot be read: {error.strerror}"
        hint = "name yours with ‹config›"
        raise UsageError(reason, where=str(path), hint=hint, heals="time") from None
    return parse(data, str(path), path.absolute().parent)


def parse(data: bytes, shown: str, base: Path) -> Config:
    """As :func:`load`, from the content."""
    try:
        root, problems = yaml.read(data, shown)
        if root is None or root.value is None:
            return Config().at(base)
        if not isinstance(root.value, dict):
            told = f"expected a mapping at the top level, got {described(root.value)}"
            where = Position(shown, root.line, root.column)
            raise yaml.Fatal(Problem(told, where, "start with 'sources:'"), problems)
        report = checks.Report(root, shown, problems)
        config = _validated(root.value, report)
        if config is None or report.failed:
            raise _error(shown, report.sorted())
    except yaml.Fatal as fatal:
        raise _error(shown, fatal.problems) from None
    filled = {name: _filled(section, config) for name, section in config.sources.items()}
    return config.model_copy(update={"sources": filled}).at(base)


def _error(shown: str, problems: list[Problem]) -> ProblemsError:
    count = len(problems)
    return ProblemsError(f"{count} problem{'s' * (count != 1)} in {shown}", tuple(problems))


def _validated(raw: dict[Any, Any], report: checks.Report) -> Config | None:
    config = checks.validate(Config, raw, (), report)
    sources, defaults = raw.get("sources"), raw.get("defaults")
    defaults = defaults if isinstance(defaults, dict) else {}
    for name, section in sources.items() if isinstance(sources, dict) else ():
        place = ("sources", name)
        if isinstance(name, str) and not _NAME.fullmatch(name):
            told = f"{name[:100]!r} cannot be the name of a source"
            report.key(place, told, "use letters, digits, '-', '_' and '.'")
        if isinstance(section, dict):
            _source(section, {**defaults, **section}, place, report)
    return config


def _source(own: dict[Any, Any], full: dict[Any, Any], place: Any, report: checks.Report) -> None:
    """Report what no single key of a source shows."""
    if bool(own.get("repository")) == bool(own.get("hosted")):
        hint = "write repository: ADDRESS, or hosted: true for one that is pushed to here"
        both = "has both a repository and hosted" if own.get("hosted") else "has no repository"
        # Of a misspelt key its own message is enough.
        slips = [did_you_mean(str(key), ["repository"]) for key in own if key != "repository"]
        if not any(slips) or own.get("hosted"):
            report.error(place, both, hint)
    glob = "*" in str(full.get("ref") or "")
    if glob != bool("previews" in own):
        told = "a glob of branches needs previews, so that each has deployments of its own"
        other = "previews need a glob of branches"
        report.error(
            (*place, "ref" if glob else "previews"),
            told if glob else other,
            'write previews: {suffix: "-{branch}"}' if glob else "write ref: 'feature/*'",
        )


def _filled(section: SourceSection, config: Config) -> SourceSection:
    unset = config.defaults.model_fields_set - section.model_fields_set
    filled = section.model_copy(update={name: getattr(config.defaults, name) for name in unset})
    # Whoever compares it with what it was before sees that the server is another one.
    return filled.model_copy(update={"prefect": filled.prefect or config.prefect})


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors; it is kept in ``docs/gitflow.schema.json``."""
    made = Config.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
