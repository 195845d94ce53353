"""Options that several commands share, each written once."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops_flow.cli import overrides
from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gitops_flow.deploy import DeployRequest, Release, Which, WorkingTree
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.model import CodeStoreSettings
    from gitops_flow.settings import Settings

_UNITS = {"": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Deployments: a name, flow/name, or a glob of either."),
]
NameOption = Annotated[
    list[str] | None,
    typer.Option("--name", "-n", metavar="NAME", help="The same as NAME; may be repeated."),
]
Everything = Annotated[bool, typer.Option("--all", help="All deployments of the manifest.")]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Only deployments with this tag; may be repeated."),
]
Changed = Annotated[bool, typer.Option("--changed", help="Only deployments that differ.")]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="PATH", help="The manifest (default: prefect.yaml)."),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="NAME",
        envvar="GITFLOW_ENV",
        show_envvar=False,
        help="An environment of the manifest (default: $GITFLOW_ENV).",
    ),
]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="NAME", help="How --env differs from this environment."),
]
Suffix = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A copy: names end in -NAME, and nothing runs by itself."),
]
Clean = Annotated[bool, typer.Option("--clean", help="Take HEAD and leave uncommitted work out.")]
CreatePools = Annotated[
    bool, typer.Option("--create-pools", help="Make missing work pools (type process).")
]
Adopt = Annotated[
    bool, typer.Option("--adopt", help="Take over deployments that another source owns.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Delete what this source owns and the manifest has no more.")
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
    bool | None,
    typer.Option(
        "--atomic/--no-atomic", help="Switch all to new code with one write, by a release pointer."
    ),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Import every flow in your Python before anything is pinned."),
]
Python = Annotated[
    str | None, typer.Option(metavar="PATH", help="Your Python, for steps and for importing flows.")
]
Submodules = Annotated[
    bool | None,
    typer.Option("--submodules/--no-submodules", help="Include the files of submodules."),
]
IgnoreSubmodule = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help="Leave a submodule out.")
]
Lfs = Annotated[
    bool | None, typer.Option("--lfs/--no-lfs", help="Include the content of Git LFS files.")
]
CiFiles = Annotated[
    bool | None,
    typer.Option("--ci-files/--no-ci-files", help="Ship CI files such as .github/workflows."),
]
AllowSecret = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Let a file through that looks like a secret."),
]
MaxFileSize = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Limit for one uncommitted file (default: 50MB).")
]
MaxTotalSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Limit for all uncommitted files (default: 500MB)."),
]
Remote = Annotated[
    str | None,
    typer.Option(metavar="REMOTE", help="The code store: a remote's name, a URL or a path."),
]
Branch = Annotated[
    str | None, typer.Option(metavar="NAME", help="The code store's branch (default: code-store).")
]
PullUrl = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="The code store's address as workers see it; repeated, they try one after another.",
    ),
]
Sign = Annotated[
    bool | None, typer.Option("--sign/--no-sign", help="Sign the release as git signs commits.")
]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="The Prefect profile to use.")]
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
    str | None,
    typer.Option("--pool", "-p", metavar="NAME", help="Another work pool than the manifest's."),
]
WorkQueue = Annotated[
    str | None, typer.Option("--work-queue", "-q", metavar="NAME", help="Another work queue.")
]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="KEY=VALUE", help="A parameter, as JSON or else as text."),
]
Params = Annotated[
    str | None, typer.Option("--params", metavar="JSON", help="Parameters, as one JSON object.")
]
JobVariable = Annotated[
    list[str] | None,
    typer.Option(
        "--job-variable", metavar="KEY=VALUE", help="A job variable: text, or a JSON object."
    ),
]
Cron = Annotated[
    list[str] | None,
    typer.Option("--cron", metavar="CRON", help="One more schedule; may be repeated."),
]
Interval = Annotated[
    list[float] | None,
    typer.Option("--interval", metavar="SECONDS", help="One more schedule; may be repeated."),
]
RRule = Annotated[
    list[str] | None,
    typer.Option("--rrule", metavar="RRULE", help="One more schedule; may be repeated."),
]
Timezone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="NAME", help="Of the schedules that these options add."),
]
Version = Annotated[str | None, typer.Option("--version", metavar="TEXT", help="Another version.")]
Description = Annotated[
    str | None, typer.Option("--description", "-d", metavar="TEXT", help="Another description.")
]
SetTag = Annotated[
    list[str] | None,
    typer.Option(
        "--set-tag", metavar="TAG", help="Tags in place of the manifest's; may be repeated."
    ),
]
To = Annotated[
    str | None, typer.Option(metavar="RELEASE", help="Default: the one before what is pinned now.")
]
CodeOnly = Annotated[
    bool, typer.Option("--code-only", help="Leave the configuration as it is on the server.")
]
HoldThere = Annotated[
    bool, typer.Option("--hold", help="Hold the deployments there, as gitflow hold.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Again:
    """The command line of ``ctx`` once more, for another command of ``gitflow``.

    ``changed`` gives options another value than they have there, for good.
    """

    def __init__(self, ctx: typer.Context, **changed: Any) -> None:
        self._commands = ctx.parent.command.commands  # type: ignore[union-attr]
        self._values = {**ctx.params, **changed}

    def __call__(self, verb: str, **changed: Any) -> str:
        """``gitflow VERB`` with those options of it that are not as by default, for a shell."""
        words, names = ["gitflow", verb], list[str]()
        values = {**self._values, **changed}
        for declared in self._commands[verb].params:
            value = values.get(declared.name, declared.default)
            if declared.param_type_name == "argument":
                names += value or ()
            elif value != declared.default and value not in ((), []):
                words += _option(declared, value)
        words += ["--", *names] if any(name.startswith("-") for name in names) else names
        return shlex.join(words)


def _option(declared: Any, value: Any) -> list[str]:
    flags = declared.opts if value is not False else declared.secondary_opts
    flag = next(flag for flag in flags if flag.startswith("--"))
    if isinstance(value, bool):
        return [flag]
    values = value if isinstance(value, list | tuple) else (value,)
    return [word for each in values for word in (flag, str(each))]


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


def store(given: Mapping[str, Any]) -> CodeStoreSettings:
    """What a command's parameters say of the code store."""
    from gitops_flow.model import CodeStoreSettings

    return CodeStoreSettings(
        remote=given.get("remote"),
        branch=given.get("branch"),
        pull_url=tuple(given.get("pull_url") or ()) or None,
        sign=given.get("sign"),
    )


def settings(
    origin: AnySource, given: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> Settings:
    """The settings for a source: those beside its manifest, wherever the command runs.

    ``given`` are the command's parameters.

    Raises:
        UsageError: a setting cannot be understood.
    """
    from gitops_flow import settings
    from gitops_flow.deploy import Commit, Release, environments

    tree = origin.of if isinstance(origin, Release) else origin
    if isinstance(tree, Commit):
        raise TypeError("a commit has no settings beside it")
    return settings.load(
        environ,
        tree.directory,
        directory=tree.manifest.parent,
        profile=given.get("profile"),
        code_store=store(given),
        named=None if given.get("profile") else environments.named_server(tree),
    )


def nothing_chosen(given: Mapping[str, Any]) -> bool:
    """Whether a command's parameters name no deployment."""
    return not (given["names"] or given["name"] or given["tag"])


def tree(given: Mapping[str, Any], *, may_be_gone: bool = False) -> WorkingTree:
    """The source that the user is in, or whose manifest a command's parameters name.

    Raises:
        UsageError: there is no manifest, and it may not be gone.
    """
    from gitops_flow.deploy import working_tree

    return working_tree(
        here(),
        given.get("file"),
        clean=given.get("clean", False),
        suffix=given.get("suffix"),
        environment=given.get("env"),
        may_be_gone=may_be_gone,
    )


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
    given: Mapping[str, Any],
    *,
    back: Callable[[WorkingTree], Release] | None = None,
    **changed: Any,
) -> DeployRequest:
    """A command's parameters (its ``locals()``) as the request they stand for.

    ``back`` makes a release of the working tree's source the thing to deploy; ``changed``
    gives parameters another value, or those that the command does not have.
    """
    from gitops_flow.deploy import DeployRequest, Options, Which

    if given.get("as_json") and given.get("markdown"):
        raise UsageError("--json and --markdown exclude each other")
    given = {**given, **changed}
    taken = {each.name: given[each.name] for each in fields(Options) if each.name in given}
    taken["overrides"] = overrides.read(given)
    for name in ("allow_secret", "ignore_submodule"):
        taken[f"{name}s"] = tuple(given.get(name) or ())
    for name in ("max_file_size", "max_total_size"):
        taken[name] = size(f"--{name.replace('_', '-')}", given.get(name))
    taken["prune"] = given.get("prune") or given.get("force_prune") or False
    taken["python"] = program(given.get("python"))
    source = tree(given)
    which = Which(
        names=(*(given.get("names") or ()), *(given.get("name") or ())),
        tags=tuple(given.get("tag") or ()),
        everything=given.get("everything", False),
        changed=given.get("changed", False),
    )
    return DeployRequest(back(source) if back else source, which, Options(**taken))
