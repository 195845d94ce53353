"""Options that several commands share, each written once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from gitops_flow.deploy import DeployRequest
    from gitops_flow.model import CodeStoreSettings

_UNITS = {"": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}

# typer reads these at run time, and knows no "X | None" in all versions that work.
Names = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(
        metavar="[NAME]...", help="Deployments: a name, flow/name, or a glob of either."
    ),
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
ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="End with 4 when there is something to do.")
]


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


def store(
    remote: str | None,
    branch: str | None,
    pull_url: list[str] | None = None,
    sign: bool | None = None,
) -> CodeStoreSettings:
    """What the command line says of the code store."""
    from gitops_flow.model import CodeStoreSettings

    return CodeStoreSettings(
        remote=remote, branch=branch, pull_url=tuple(pull_url or ()) or None, sign=sign
    )


def request(
    *,
    file: Path | None,
    names: list[str] | None = None,
    tag: list[str] | None = None,
    allow_secret: list[str] | None = None,
    max_file_size: str | None = None,
    max_total_size: str | None = None,
    force_prune: bool = False,
    prune: bool = False,
    **rest: Any,
) -> DeployRequest:
    """The options of a command as the request they stand for."""
    from gitops_flow.deploy import DeployRequest

    return DeployRequest(
        directory=here(),
        manifest=file,
        names=tuple(names or ()),
        tags=tuple(tag or ()),
        allow_secrets=tuple(allow_secret or ()),
        max_file_size=size("--max-file-size", max_file_size),
        max_total_size=size("--max-total-size", max_total_size),
        prune=prune or force_prune,
        force_prune=force_prune,
        **rest,
    )
