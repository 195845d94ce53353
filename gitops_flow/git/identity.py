"""One name for a repository, whichever of its addresses it is known by."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from urllib.parse import unquote

from gitops_flow.git import environment, url

# Other names of the same host; the ones on port 443 are for networks that let nothing else out.
_SAME_HOST = {
    "www.github.com": "github.com",
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
# Hosts that do not tell letter case in the names of owners and repositories apart.
_CASELESS = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})
_AZURE = "dev.azure.com"
_AZURE_SSH = frozenset({"ssh.dev.azure.com", "vs-ssh.visualstudio.com"})
_OLD_AZURE = re.compile(r"([a-z0-9-]+)\.visualstudio\.com")
# Bitbucket Data Center: https://HOST/scm/PROJECT/REPO, ssh://git@HOST:7999/project/repo.
_BITBUCKET = re.compile(r"scm/([^/]+/[^/]+)")
_BITBUCKET_PORT = "7999"
_LOOPBACK = re.compile(r"localhost|127\..*|::1")
_PLAIN_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_NUMBERS = re.compile(r"[0-9.]+|.*:.*")
_SSH_TIMEOUT = 5.0


def of(address: str) -> str:
    """``host/path``, the same for every address of a repository that is known to be one.

    Scheme, user, ``.git`` and the port of ssh do not count, nor does letter case where
    the host ignores it. ``address`` may also be ``host/path`` itself. Paths stay as they
    are, and so do other texts.
    """
    if re.match(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?/", address):
        address = f"https://{address}"
    plain = url.normalise(address)
    at = url.host(address)
    if not at:
        return plain
    name, _, port = at.partition(":") if at.count(":") < 2 else (at, "", "")
    path = plain[len(at) + 1 :]
    ssh = "://" not in address or address.lower().startswith("ssh:")
    name = _SAME_HOST.get(name, name)
    if azure := _azure(name, path):
        return azure
    if name in _CASELESS:
        return f"{name}/{path.lower()}"
    if ssh and port == _BITBUCKET_PORT:
        return f"{name}/{path.lower()}"
    if not ssh and (found := _BITBUCKET.fullmatch(path)):
        return f"{name}/{found[1].lower()}"
    # Of two ssh servers on one machine the port says which; elsewhere it belongs to the
    # host that https knows without it.
    kept = port if port and (not ssh or _LOOPBACK.fullmatch(name)) else ""
    return f"{name}:{kept}/{path}" if kept else f"{name}/{path}"


def _azure(name: str, path: str) -> str | None:
    """Azure's several addresses of a repository as one; None for any other host."""
    parts = unquote(path).lower().split("/")
    if name in _AZURE_SSH and parts[0] == "v3" and len(parts) == 4:
        _, owner, project, repository = parts
        return f"{_AZURE}/{owner}/{project}/_git/{repository}"
    old = _OLD_AZURE.fullmatch(name)
    if old:
        parts = [old[1], *(parts[1:] if parts[0] == "defaultcollection" else parts)]
    elif name != _AZURE:
        return None
    if len(parts) == 3 and parts[1] == "_git":  # a project's repository of the same name
        parts.insert(1, parts[2])
    return f"{_AZURE}/{'/'.join(parts)}"


def is_known_host(name: str) -> bool:
    """Whether a host's own names are known here, so that no configuration has to be asked."""
    return name in _CASELESS or name in _SAME_HOST or name in _AZURE_SSH


def without_alias(address: str, ssh_command: str | None) -> str:
    """``address`` with the host that an alias in ssh's configuration stands for.

    Only an alias is replaced: a name without a dot, or one for a host that is known.
    A host's name stays where its configuration only says how to reach it.

    Args:
        address: of a repository.
        ssh_command: ``core.sshCommand``, None where it is not set.
    """
    at = url.host(address)
    ssh = "://" not in address or address.lower().startswith("ssh:")
    name = at.partition(":")[0]
    if not (at and ssh and _PLAIN_HOST.fullmatch(name)) or is_known_host(name):
        return address
    if _LOOPBACK.fullmatch(name) or _NUMBERS.fullmatch(name):
        return address
    real = _host_name(name, ssh_command)
    if not real or _NUMBERS.fullmatch(real) or not ("." not in name or is_known_host(real)):
        return address
    return re.sub(
        rf"(^|[/@]){re.escape(name)}(?=[:/])", rf"\g<1>{real}", address, count=1, flags=re.I
    )


def _host_name(name: str, ssh_command: str | None) -> str | None:
    """What ``ssh -G`` says; it connects to nothing."""
    try:
        inherited = environment.current()
        said = inherited.ssh_command or ssh_command or inherited.environ.get("GIT_SSH")
        command = shlex.split(said or "ssh")
        if not command or os.path.basename(command[0]) != "ssh":  # noqa: PTH119
            return None
        done = subprocess.run(
            [*command, "-G", "--", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SSH_TIMEOUT,
            env=inherited.variables(),
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    answer = re.search(rb"^hostname (.+)$", done.stdout, re.MULTILINE)
    return answer[1].decode("utf-8", "replace").strip().lower() if answer else None
