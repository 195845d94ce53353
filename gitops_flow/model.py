"""Frozen values that cross layers. Nothing here reads or writes anything."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# A JSON value as `json.loads` gives it.
Json = Any

MARK_PREFIX = "gitflow:"
POINTER_PREFIX = "gitflow_"
_COPY_DIGITS = 16
_MARK_DIGEST = re.compile(r"-([0-9a-f]{16}|[0-9a-f]{8})$")
# A source commit, the same with a snapshot, or a snapshot: the versions that are ours.
_OUR_VERSION = re.compile(r"[0-9a-f]{8}(-dirty-[0-9a-f]{8})?|snapshot-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1, columns in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to say about a manifest. ``message`` says what, ``hint`` what to write instead.

    An error stops a deploy, a warning does not; a note says what became of something.
    ``subject`` is the beginning of the message that names a deployment: without it,
    messages that say the same are equal.
    """

    message: str
    where: Position | None = None
    hint: str | None = None
    severity: Literal["error", "warning", "note"] = "error"
    path: tuple[str | int, ...] = ()
    subject: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """Which build and push steps may run before a deploy, and with what.

    Args:
        functions: their names as a manifest writes them; None allows every function, also one in
            a module of the repository, and has packages installed that a step ``requires``.
        environ: all that a step's process, and the git of a clone, has of an environment.
    """

    functions: frozenset[str] | None
    environ: Mapping[str, str] = field(repr=False)

    def allows(self, name: str) -> bool:
        """Whether the function called ``name`` (``module.function``, ``file.py:function``) may run."""
        if self.functions is None:
            return True
        return _function(name) in map(_function, self.functions)


def _function(name: str) -> str:
    # A function of a module has two spellings; a function of a file only this one.
    return name if ".py:" in name else name.replace(":", ".")


@dataclass(frozen=True, slots=True)
class PrefectConnection:
    """Where the Prefect API is and how to talk to it.

    ``api_url`` ends in ``/api`` for a self-hosted server. ``timeout`` is in
    seconds per request; ``max_retries`` counts attempts after the first.
    ``named_by`` says which setting the address is from.
    """

    api_url: str
    auth_string: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls_verify: bool = True
    ca_file: str | None = None
    timeout: float = 60.0
    max_retries: int = 5
    csrf: bool = True
    named_by: str = field(default="", compare=False)

    @property
    def is_cloud(self) -> bool:
        """Whether this is Prefect Cloud, which has more than a server of one's own."""
        host = self.api_url.partition("://")[2].partition("/")[0].lower()
        return host == "prefect.cloud" or host.endswith(".prefect.cloud")


@dataclass(frozen=True, slots=True)
class CodeStoreSettings:
    """Where snapshots are published; every field may be left to its default.

    ``remote`` is the name of a configured git remote, a URL or a path.
    ``pull_url`` is one address for workers, or several in the order in which
    they are tried. ``credentials`` is handed to workers verbatim, so it must be a placeholder
    such as ``{{ prefect.blocks.secret.git-token }}``. ``token`` and
    ``username`` are the publisher's own and never leave the process. ``token_for``
    are the only places that get the token, each a host, an address or a remote's
    name; without any it is the repository's own remote. ``sign``: whether
    releases are signed.
    """

    remote: str | None = None
    branch: str | None = None
    pull_url: str | tuple[str, ...] | None = None
    credentials: Json = None
    username: str | None = None
    token: str | None = field(default=None, repr=False)
    token_for: tuple[str, ...] = ()
    sign: bool | None = None

    def over(self, other: CodeStoreSettings) -> CodeStoreSettings:
        """These settings, with ``other`` filling in what is not set here."""
        return CodeStoreSettings(
            remote=self.remote or other.remote,
            branch=self.branch or other.branch,
            pull_url=self.pull_url or other.pull_url,
            credentials=self.credentials if self.credentials is not None else other.credentials,
            username=self.username or other.username,
            token=self.token or other.token,
            token_for=self.token_for or other.token_for,
            sign=self.sign if self.sign is not None else other.sign,
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What is deployed: a repository (or folder) and a manifest in it.

    ``identity`` is what the manifest names, else one text for all addresses of the
    repository's remote or, without a remote, its absolute path. ``manifest`` is relative
    to the root, with "/"; ``path`` is the root's absolute path. ``former`` are identities
    that the same repository had before. ``environment`` is one of the manifest's, ``suffix`` what
    the names of its deployments end in (``-kim``): with either it is a source of its own.
    """

    name: str
    identity: str
    manifest: str
    path: str | None = None
    former: tuple[str, ...] = ()
    environment: str = ""
    suffix: str = ""

    @property
    def mark(self) -> str:
        """The tag on every deployment that this source owns.

        It ends in hex digits (:func:`digest_of`) that tell two sources of one name apart.
        """
        return self._mark(self.identity)

    @property
    def pointer(self) -> str:
        """The name of the Prefect variable that is this source's release pointer."""
        return pointer_of(self.mark)

    def is_own_pointer(self, name: str) -> bool:
        """Whether a release pointer is this source's, also under a former name or mark."""
        digests = {digest_of(mark) for mark in (self.mark, *self.former_marks)}
        return name.startswith(POINTER_PREFIX) and name.rpartition("_")[2] in digests

    @property
    def repository_marks(self) -> tuple[str, ...]:
        """The mark, and those that the same repository gave before under other names."""
        return tuple(map(self._mark, dict.fromkeys((self.identity, *self.former))))

    @property
    def former_marks(self) -> tuple[str, ...]:
        """Marks that this source had before: it owns what carries them.

        One is from before it got a remote, when it was known by its ``path``.
        """
        own = self._mark(self.path) if self.path else self.mark
        return tuple(
            dict.fromkeys(each for each in (*self.repository_marks, own) if each != self.mark)
        )

    def _mark(self, identity: str) -> str:
        key, digits = f"{identity}\n{self.manifest}", 8
        if self.environment or self.suffix:
            # The name of a branch is anybody's, and 8 digits are found again in minutes.
            key, digits = f"{key}\0{self.environment}\0{self.suffix}", _COPY_DIGITS
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{MARK_PREFIX}{self.name}-{digest[:digits]}"


def digest_of(mark: str) -> str:
    """The hex digits that a mark ends in, 8 or 16; a source keeps them under another name."""
    digest = _MARK_DIGEST.search(mark)
    return digest[1] if digest else mark


def is_of_copy(mark: str) -> bool:
    """Whether a mark is that of a source with a suffix or an environment."""
    return len(digest_of(mark)) == _COPY_DIGITS and digest_of(mark) != mark


def pointer_of(mark: str) -> str:
    """The name of the release pointer of the source with this mark."""
    name, _, digest = mark.removeprefix(MARK_PREFIX).rpartition("-")
    return f"{POINTER_PREFIX}{re.sub('[^a-z0-9]+', '_', name.lower())[:200]}_{digest}"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a snapshot came from.

    ``commit`` is None without any commit, ``ref`` (a branch's short name)
    without a branch. ``author`` is who deploys, ``Name <mail>``.
    """

    source: str
    commit: str | None
    dirty: bool
    author: str
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path whose content in the snapshot differs from the source commit."""

    path: str
    kind: Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A path that is on disk and not in the snapshot, and why.

    A directory's path ends with "/" and stands for everything below it.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A parentless commit whose tree is the code.

    ``commit`` and ``tree`` are 40 hex digits. The id is a function of the
    content alone.
    """

    commit: str
    tree: str
    provenance: Provenance
    changes: tuple[FileChange, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """Where a flow is: a file (``a/b.py``) or module (``a.b``), and a name in it.

    ``qualname`` is ``func`` or ``Class.method``.
    """

    kind: Literal["file", "module"]
    location: str
    qualname: str

    @classmethod
    def parse(cls, text: str) -> Entrypoint:
        """Read ``a/b.py:func``, ``a/b.py:Class.method``, ``a.b:func`` or ``a.b.func``.

        Raises:
            ValueError: whose text completes the sentence "<entrypoint> ...".
        """
        location, _, name = text.rpartition(":" if ":" in text else ".")
        if (location and not name) or (":" not in text and text.endswith(".py")):
            raise ValueError("names no flow function")
        if not location:
            raise ValueError("names no file or module")
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError("does not end in the name of a function")
        if location.endswith(".py") and ":" in text:
            return cls("file", location, name)
        if not all(part.isidentifier() for part in location.split(".")):
            raise ValueError("names neither a .py file nor a module")
        return cls("module", location, name)


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """What a flow's source says about it, read without importing it.

    ``parameter_schema`` is the JSON schema Prefect stores. ``notes`` name the
    parameters for which only a permissive schema could be given. ``takes_more``
    says that it takes parameters beyond the schema's (``**options``), or may.
    """

    name: str
    description: str | None
    version: str | None
    # The MD5 of the file with the flow's function: Prefect's stand-in for a version.
    file_digest: str | None = field(default=None, kw_only=True)
    parameter_schema: dict[str, Json]
    notes: tuple[str, ...] = ()
    takes_more: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule of a deployment.

    ``spec`` is the server's shape: ``{cron, timezone, day_or}`` or ``{interval
    (seconds), anchor_date, timezone}`` or ``{rrule, timezone}``, holding only
    what was asked for (desired) or all of it (live). ``active`` None means the
    manifest does not say. ``id`` is the server's, None when desired.
    ``replaces`` is the slug that a desired schedule had before it was renamed.
    """

    spec: dict[str, Json]
    active: bool | None = None
    parameters: dict[str, Json] = field(default_factory=dict)
    slug: str | None = None
    id: str | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Automation:
    """What runs a deployment when something happens: one item of ``triggers:``.

    ``trigger`` is the server's shape without any ``id``. ``parameters``,
    ``job_variables`` and ``schedule_after`` (seconds) are those of its
    run-deployment action. ``enabled`` None means that the manifest does not
    say. ``tags`` and ``id`` are the server's; none when desired.
    """

    name: str
    trigger: dict[str, Json]
    description: str = ""
    enabled: bool | None = None
    parameters: dict[str, Json] | None = None
    job_variables: dict[str, Json] | None = None
    schedule_after: float = 0.0
    tags: tuple[str, ...] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment, as desired or as the server has it.

    ``paused`` None means that the manifest does not say. ``concurrency_limit``
    is the number; ``concurrency_options`` the server's mapping or None;
    ``limit_is_shared`` says that a live limit belongs to others as well.
    ``ignored`` names what is left to the server (``paused``,
    ``schedules.active``); ``dormant`` says that it must not begin to run by itself: its
    schedules and automations are off, until somebody switches one on. ``unknown`` the fields that only the outputs of
    steps not yet run will complete. ``secret_fields`` names where a secret was
    filled in (``description``, ``parameters.url.host``), ``secrets`` are the texts. ``where`` is
    its place in the manifest, ``overridden`` says which fields are not from there but from
    which option (``parameters.day``, ``--param``). ``keeps_code``: the snapshot differs from
    what is pinned only outside its ``gitflow: paths``, so the pin stays.
    ``id`` and ``flow_id`` are the server's, None when desired.
    """

    flow_name: str
    name: str
    entrypoint: str | None
    path: str | None = None
    description: str | None = None
    version: str | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, Json] = field(default_factory=dict)
    parameter_schema: dict[str, Json] | None = None
    enforce_parameter_schema: bool = True
    work_pool: str | None = None
    work_queue: str | None = None
    job_variables: dict[str, Json] = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()
    paused: bool | None = None
    concurrency_limit: int | None = None
    concurrency_options: dict[str, Json] | None = None
    limit_is_shared: bool = False
    pull_steps: tuple[dict[str, Json], ...] | None = None
    version_is_ours: bool = False
    automations: tuple[Automation, ...] = ()
    ignored: tuple[str, ...] = ()
    dormant: bool = False
    unknown: tuple[str, ...] = ()
    secret_fields: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False, compare=False)
    where: Position | None = None
    overridden: tuple[tuple[str, str], ...] = ()
    keeps_code: bool = False
    id: str | None = None
    flow_id: str | None = None

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``, as Prefect's commands take it."""
        return f"{self.flow_name}/{self.name}"

    @property
    def marks(self) -> tuple[str, ...]:
        """Ownership marks among the tags; empty when nobody's."""
        return tuple(tag for tag in self.tags if tag.startswith(MARK_PREFIX))


def is_our_version(text: str | None) -> bool:
    """Whether a deployment's version only says which code it is."""
    return bool(_OUR_VERSION.fullmatch(text or ""))


def finite(value: Json) -> Json:
    """What JSON makes of a value: it has neither infinity nor NaN, so Prefect stores null."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
