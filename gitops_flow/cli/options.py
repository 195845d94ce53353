"""Options that several commands share, each written once."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, get_type_hints

import typer

from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gitops_flow.deploy import DeployRequest, Release, Which, WorkingTree
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.manifest import Override
    from gitops_flow.model import CodeStoreSettings
    from gitops_flow.settings import Settings

# What may be repeated, and what the request calls it.
_LISTS = {
    "names": "names",
    "tag": "tags",
    "allow_secret": "allow_secrets",
    "ignore_submodule": "ignore_submodules",
}
_WHICH = ("names", "tags", "everything", "changed")
_UNITS = {"": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}

# typer reads these at run time, and knows no "X | None" in all versions that work.
Names = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="[NAME]...", help="Deployments: a name, flow/name, or a glob of either."
    ),
]
NameOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--name", "-n", metavar="NAME", help="The same as NAME; may be repeated."),
]
Everything = Annotated[bool, typer.Option("--all", help="All deployments of the manifest.")]
Tags = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--tag", metavar="TAG", help="Only deployments with this tag; may be repeated."),
]
Changed = Annotated[bool, typer.Option("--changed", help="Only deployments that differ.")]
File = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--file", "-f", metavar="PATH", help="The manifest (default: prefect.yaml)."),
]
Clean = Annotated[bool, typer.Option("--clean", help="Take HEAD and leave uncommitted work out.")]
CreatePools = Annotated[
    bool, typer.Option("--create-pools", help="Make missing work pools (type process).")
]
Adopt = Annotated[
    bool, typer.Option("--adopt", help="Take over deployments that another source owns.")
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Delete what this source owns and the manifest has no more."),
]
ForcePrune = Annotated[
    bool, typer.Option("--force-prune", help="--prune, even of more than a third of the source.")
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first deployment that fails.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Keys that Prefect would ignore are errors.")
]
AllowMissing = Annotated[
    bool,
    typer.Option(
        "--allow-missing", help="Leave out what no placeholder's value is found for, as Prefect."
    ),
]
ImportFlows = Annotated[
    bool,
    typer.Option(
        "--import-flows", help="Import flows in your Python where their source does not say it all."
    ),
]
Atomic = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--atomic/--no-atomic", help="Switch all to new code with one write, by a release pointer."
    ),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Import every flow in your Python before anything is pinned."),
]
Python = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="PATH", help="Your Python, for steps and for importing flows."),
]
Submodules = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--submodules/--no-submodules", help="Include the files of submodules."),
]
IgnoreSubmodule = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="GLOB", help="Leave a submodule out."),
]
Lfs = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--lfs/--no-lfs", help="Include the content of Git LFS files."),
]
CiFiles = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--ci-files/--no-ci-files", help="Ship CI files such as .github/workflows."),
]
AllowSecret = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="GLOB", help="Let a file through that looks like a secret."),
]
MaxFileSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="SIZE", help="Limit for one uncommitted file (default: 50MB)."),
]
MaxTotalSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="SIZE", help="Limit for all uncommitted files (default: 500MB)."),
]
Remote = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="REMOTE", help="The code store: a remote's name, a URL or a path."),
]
Branch = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="NAME", help="The code store's branch (default: code-store)."),
]
PullUrl = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        metavar="URL",
        help="The code store's address as workers see it; repeated, they try one after another.",
    ),
]
Sign = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--sign/--no-sign", help="Sign the release as git signs commits."),
]
Profile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="NAME", help="The Prefect profile to use."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment.")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Every value, also of those that only get other code."),
]
Patch = Annotated[
    bool, typer.Option("--patch", "-p", help="Of two releases: the lines that differ, as git does.")
]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="End with 4 when there is something to do.")
]
Pool = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--pool", "-p", metavar="NAME", help="Another work pool than the manifest's."),
]
WorkQueue = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--work-queue", "-q", metavar="NAME", help="Another work queue."),
]
Param = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--param", metavar="KEY=VALUE", help="A parameter, as JSON or else as text."),
]
Params = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--params", metavar="JSON", help="Parameters, as one JSON object."),
]
JobVariable = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--job-variable", metavar="KEY=VALUE", help="A job variable: text, or a JSON object."
    ),
]
Cron = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--cron", metavar="CRON", help="One more schedule; may be repeated."),
]
Interval = Annotated[
    Optional[list[float]],  # noqa: UP045
    typer.Option("--interval", metavar="SECONDS", help="One more schedule; may be repeated."),
]
RRule = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--rrule", metavar="RRULE", help="One more schedule; may be repeated."),
]
Timezone = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--timezone", metavar="NAME", help="Of the schedules that these options add."),
]
Version = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--version", metavar="TEXT", help="Another version."),
]
Description = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--description", "-d", metavar="TEXT", help="Another description."),
]
SetTag = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set-tag", metavar="TAG", help="Tags in place of the manifest's; may be repeated."
    ),
]
To = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="RELEASE", help="Default: the one before what is pinned now."),
]
CodeOnly = Annotated[
    bool, typer.Option("--code-only", help="Leave the configuration as it is on the server.")
]
HoldThere = Annotated[
    bool, typer.Option("--hold", help="Hold the deployments there, as gitflow hold.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Group:
    """Options that go together: each annotated attribute is one, its value the default.

    No dataclass: making eight of them would take longer than reading the command line.
    """

    def __init__(self, **given: Any) -> None:
        vars(self).update(given)

    def given(self) -> dict[str, Any]:
        """The value of each option."""
        return {name: getattr(self, name) for name in _parameters(type(self))}


class Named(Group):
    """Which deployments, by name."""

    names: Names = None
    everything: Everything = False


class Selection(Named):
    """Which deployments, by name or tag."""

    name: NameOption = None
    tag: Tags = None


class Located(Group):
    """Which manifest."""

    file: File = None


class Working(Located):
    """The manifest and the working tree, and what may be in it."""

    clean: Clean = False
    submodules: Submodules = None
    ignore_submodule: IgnoreSubmodule = None
    lfs: Lfs = None
    ci_files: CiFiles = None
    allow_secret: AllowSecret = None
    max_file_size: MaxFileSize = None
    max_total_size: MaxTotalSize = None


class Reading(Group):
    """How the manifest and the flows are read."""

    strict: Strict = False
    allow_missing: AllowMissing = False
    import_flows: ImportFlows = False
    python: Python = None


class Overriding(Group):
    """Values in place of the manifest's, under the names that Prefect has for them."""

    pool: Pool = None
    work_queue: WorkQueue = None
    param: Param = None
    params: Params = None
    job_variable: JobVariable = None
    cron: Cron = None
    interval: Interval = None
    rrule: RRule = None
    timezone: Timezone = None
    version: Version = None
    description: Description = None
    set_tag: SetTag = None


class Care(Group):
    """What a deploy does about failures, before and after they happen."""

    fail_fast: FailFast = False
    verify: Verify = False


class Return(Located):
    """To what a rollback goes back, and with how much."""

    to: To = None
    code_only: CodeOnly = False
    hold: HoldThere = False
    create_pools: CreatePools = False
    allow_missing: AllowMissing = False
    yes: Yes = False


class Extent(Group):
    """How far a deploy goes."""

    changed: Changed = False
    create_pools: CreatePools = False
    adopt: Adopt = False
    prune: Prune = False
    force_prune: ForcePrune = False
    atomic: Atomic = None


class Ledger(Group):
    """Where the releases are."""

    remote: Remote = None
    branch: Branch = None


class Store(Ledger):
    """Where releases go, and how workers reach them."""

    pull_url: PullUrl = None
    sign: Sign = None


class Output(Group):
    """Which server, and how its state is told."""

    profile: Profile = None
    as_json: AsJson = False


def _parameters(group: type[Group]) -> dict[str, inspect.Parameter]:
    """A group's options as keyword parameters, those it inherits first."""
    return {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(group, name),
            annotation=globals()[annotation],
        )
        for base in reversed(group.__mro__)
        for name, annotation in vars(base).get("__annotations__", {}).items()
    }


class Again:
    """The command line of ``groups`` once more, for another command that takes them."""

    def __init__(self, *groups: Group) -> None:
        self._groups = groups

    def __call__(self, verb: str, **changed: Any) -> str:
        """``gitflow VERB`` with the options that are not as by default, as a shell takes it.

        ``changed`` gives options another value; of those that no group has nothing is said.
        """
        words, names = ["gitflow", verb], list[str]()
        for group in self._groups:
            for name, parameter in _parameters(type(group)).items():
                value = changed.get(name, getattr(group, name))
                (declared,) = parameter.annotation.__metadata__
                if isinstance(declared, typer.models.ArgumentInfo):
                    names += value or ()
                elif value != parameter.default:
                    words += _option(_flags(name, declared), value)
        words += ["--", *names] if any(name.startswith("-") for name in names) else names
        return shlex.join(words)


def _flags(name: str, declared: typer.models.OptionInfo) -> str:
    """The long flag of an option, or ``--on/--off``."""
    # In an annotation, what typer calls the default is the first flag.
    first = declared.default
    flags = [*([first] if isinstance(first, str) else ()), *(declared.param_decls or ())]
    return next((flag for flag in flags if flag.startswith("--")), f"--{name.replace('_', '-')}")


def _option(flags: str, value: Any) -> list[str]:
    flag, _, off = flags.partition("/")
    if isinstance(value, bool):
        return [flag if value else off]
    values = value if isinstance(value, list) else (value,)
    return [word for each in values for word in (flag, str(each))]


def spread(command: Callable[..., int]) -> Callable[..., int]:
    """``command`` as typer wants it: each option of its groups a parameter of its own."""
    hints = get_type_hints(command, include_extras=True)
    flat: list[inspect.Parameter] = []
    groups: dict[str, type[Group]] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if isinstance(kind, type) and issubclass(kind, Group):
            groups[parameter.name] = kind
            flat.extend(_parameters(kind).values())
        else:
            flat.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    def spread_out(**given: Any) -> int:
        for name, kind in groups.items():
            given[name] = kind(**{option: given.pop(option) for option in _parameters(kind)})
        return command(**given)

    spread_out.__name__ = command.__name__
    spread_out.__doc__ = command.__doc__
    spread_out.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    spread_out.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    return spread_out


def size(option: str, value: str | None) -> int | None:
    """Bytes from ``50MB``, ``1.5 GB`` or a plain number."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kb|mb|gb|)", value.strip().lower())
    if not found or float(found[1]) == 0:
        raise UsageError(f"{option}: {value!r} is not a size", hint="write 50MB, 2GB or bytes")
    return int(float(found[1]) * _UNITS[found[2]])


def here() -> Path:
    """The current directory.

    Raises:
        UsageError: it has been removed.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the current directory cannot be used: {error.strerror}",
            hint="change to one that exists",
        ) from None


def store(place: Ledger) -> CodeStoreSettings:
    """What the command line says of the code store."""
    from gitops_flow.model import CodeStoreSettings

    whole = place if isinstance(place, Store) else Store(**place.given())
    return CodeStoreSettings(
        remote=whole.remote,
        branch=whole.branch,
        pull_url=tuple(whole.pull_url or ()) or None,
        sign=whole.sign,
    )


def settings(
    origin: AnySource,
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    code_store: CodeStoreSettings | None = None,
) -> Settings:
    """The settings for a source: those beside its manifest, wherever the command runs.

    Raises:
        UsageError: a setting cannot be understood.
    """
    from gitops_flow import settings
    from gitops_flow.deploy import Commit, Release

    tree = origin.of if isinstance(origin, Release) else origin
    if isinstance(tree, Commit):
        raise TypeError("a commit has no settings beside it")
    beside = tree.manifest.parent
    return settings.load(
        environ, tree.directory, directory=beside, profile=profile, code_store=code_store
    )


def overrides(over: Overriding) -> tuple[Override, ...]:
    """The overrides that the options ask for.

    Raises:
        UsageError: an option that has no key, or is no JSON.
    """
    from gitops_flow.manifest import Override

    if over.params is not None and over.param:
        raise UsageError("--param and --params exclude each other", hint="write all in --params")
    variables: dict[str, Any] = {}
    for text in over.job_variable or ():
        key, equals, value = text.partition("=")
        # Prefect looks for "=" first, but a JSON object may hold one.
        whole = text.lstrip().startswith("{") or not equals
        variables |= _mapping("--job-variable", text) if whole else {key: value}
    parameters = _mapping("--params", over.params) if over.params is not None else {}
    for text in over.param or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--param: {text!r} is not KEY=VALUE", hint="write --param day=1")
        parameters[key] = _json(value)
    schedules = [
        (kind, value)
        for kind in ("cron", "interval", "rrule")
        for value in getattr(over, kind) or ()
    ]
    if over.timezone and not schedules:
        raise UsageError("--timezone needs --cron, --interval or --rrule")
    zone = {"timezone": over.timezone} if over.timezone else {}
    plain = (
        (("work_pool", "name"), over.pool, "--pool"),
        (("work_pool", "work_queue_name"), over.work_queue, "--work-queue"),
        (("version",), over.version, "--version"),
        (("description",), over.description, "--description"),
        (("tags",), over.set_tag or None, "--set-tag"),
    )
    param = "--param" if over.param else "--params"
    return (
        *(Override(path, value, option) for path, value, option in plain if value is not None),
        *(Override(("parameters", key), value, param) for key, value in parameters.items()),
        *(
            Override(("work_pool", "job_variables", key), value, "--job-variable")
            for key, value in variables.items()
        ),
        *(
            Override(("schedules",), {kind: value, **zone}, f"--{kind}")
            for kind, value in schedules
        ),
    )


def _json(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _mapping(option: str, text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        hint = "write KEY=VALUE or a JSON object" if option == "--job-variable" else None
        raise UsageError(f"{option}: {shown(text)} is not a JSON object", hint=hint)
    return value


def shown(text: str) -> str:
    """The beginning of what was given, in quotes."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def tree(file: Path | None, *, clean: bool = False) -> WorkingTree:
    """The source that the user is in, or whose manifest is named.

    Raises:
        UsageError: there is no manifest.
    """
    from gitops_flow.deploy import working_tree

    return working_tree(here(), file, clean=clean)


def which(names: Sequence[str] | None, *, everything: bool = False) -> Which:
    """The deployments that are named.

    Raises:
        UsageError: names exclude ``--all``.
    """
    from gitops_flow.deploy import Which

    return Which(tuple(names or ()), everything=everything)


def program(python: str | None) -> str | None:
    """The named Python, by a path that is true in every directory.

    Raises:
        UsageError: there is none.
    """
    if python is None:
        return None
    found = shutil.which(str(here() / python) if "/" in python else python)
    if found is None:
        raise UsageError(
            f"--python: there is no program {python!r}",
            hint="name the Python that has your flows' packages, such as .venv/bin/python",
        )
    return found


def request(
    *groups: Group, back: Callable[[WorkingTree], Release] | None = None, **rest: Any
) -> DeployRequest:
    """The options of a command as the request they stand for; ``rest`` are further ones.

    ``back`` makes a release of the working tree's source the thing to deploy.
    """
    from gitops_flow.deploy import DeployRequest, Options, Which

    given: dict[str, Any] = {}
    for group in groups:
        given |= group.given()
    given |= rest
    given["names"] = [*(given.get("names") or ()), *(given.pop("name", None) or ())]
    for option, field_name in _LISTS.items():
        given[field_name] = tuple(given.pop(option, None) or ())
    for option in ("max_file_size", "max_total_size"):
        given[option] = size("--" + option.replace("_", "-"), given.get(option))
    given["prune"] = given.get("prune", False) or given.get("force_prune", False)
    given["python"] = program(given.get("python"))
    source = tree(given.pop("file"), clean=given.pop("clean", False))
    chosen = Which(**{name: given.pop(name) for name in _WHICH if name in given})
    return DeployRequest(back(source) if back else source, chosen, Options(**given))
