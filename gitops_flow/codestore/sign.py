"""Signed releases: a signed tag of the snapshot, made and checked by git itself.

What is signed names the snapshot and nothing else. So it is known before
publishing, stays true when another deployer is faster, and survives a rewrite
of the ledger, which keeps it in the entry's ``mergetag`` header.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow.errors import CodeStoreError, GitError
from gitops_flow.git import command

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository
    from gitops_flow.model import Snapshot

_TAG = "gitflow-release"
_TIMEOUT = 180.0  # seconds: a hardware key waits for a touch


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed: a name that the verifier's configuration knows, or the key's id.

    ``state`` is ``good``, ``unknown`` (nothing says whose key it is) or ``bad``.
    """

    name: str
    state: Literal["good", "unknown", "bad"]


def sign(store: PrivateStore, snapshot: Snapshot) -> str:
    """Sign ``snapshot`` with the user's key as git would; the text of a tag object.

    Raises:
        CodeStoreError: git has no key, or the signing program failed.
    """
    # Prefect would take two braces for a placeholder: the text is in a pull step.
    author = re.sub(r"[{}\x00-\x1f]", "", snapshot.provenance.author)
    name, _, mail = author.partition(" <")
    ident = {"GIT_COMMITTER_NAME": name or "unknown", "GIT_COMMITTER_EMAIL": mail.rstrip(">")}
    config = (*_config(store.repository), ("core.fsync", "none"))
    with store.locked():
        env = {**store.env(), **ident}
        try:
            said = command.run(
                ["tag", "-s", "-f", "-m", f"release of {snapshot.commit}", _TAG, snapshot.commit],
                env=env,
                config=config,
                timeout=_TIMEOUT,
            ).stderr
        except GitError as error:
            raise _unsigned(error.message) from None
        text = command.run(["cat-file", "tag", _TAG], env=env, timeout=60).stdout
        command.run(["update-ref", "-d", f"refs/tags/{_TAG}"], env=env, timeout=60)
    if b"\n-----BEGIN " not in text:
        # Some versions of git make a plain tag when ssh-keygen fails, and call it done.
        raise _unsigned(command.tidy(said))
    return text.decode("utf-8", "replace")


def _unsigned(reason: str) -> CodeStoreError:
    return CodeStoreError(
        f"the release cannot be signed: {reason}",
        hint="set user.signingkey (and gpg.format: ssh or openpgp) as for `git commit -S`, "
        "or deploy with ‹no_sign›",
    )


def check(git_dir: Path, repository: Repository, snapshot: str, signature: str) -> Signer:
    """Check a release's signature with the user's configuration of git.

    Args:
        git_dir: a repository of ours that the tag is written to.
        repository: whose configuration names the signers that are known.
        snapshot: what has to be signed.
        signature: the tag's text.
    """
    key = _key(signature)
    if not signature.startswith(f"object {snapshot}\ntype commit\n"):
        return Signer(key, "bad")
    env, config = {"GIT_DIR": str(git_dir)}, _config(repository)
    try:
        written = command.run(
            ["hash-object", "-t", "tag", "-w", "--stdin"],
            env=env,
            stdin=signature.encode(),
            timeout=60,
        )
        answer = command.run(
            ["verify-tag", "--raw", written.stdout.decode("ascii").strip()],
            env=env,
            config=config,
            timeout=60,
            check=False,
        )
    except GitError:
        return Signer(key, "bad")
    said = answer.stderr + answer.stdout.decode("utf-8", "replace")
    if answer.returncode == 0:
        known = re.search(r'Good "git" signature for (\S+) with', said)
        known = known or re.search(r"\[GNUPG:\] GOODSIG \S+ (.+)", said)
        return Signer(known[1] if known else key, "good")
    if lacking := re.search(r"\[GNUPG:\] (?:NO_PUBKEY|ERRSIG) (\S+)", said):
        return Signer(lacking[1], "unknown")
    if re.search(r"No principal matched|allowedSignersFile needs to be configured", said):
        return Signer(key, "unknown")
    return Signer(key, "bad")


def _config(repository: Repository) -> tuple[tuple[str, str], ...]:
    """What the user's repository says about signing; a private store does not see it."""
    return tuple(
        (key, value)
        for _, key, value in repository.config
        if key.startswith("gpg.") or key == "user.signingkey"
    )


def _key(signature: str) -> str:
    """The fingerprint of the ssh key in a signature (PROTOCOL.sshsig), else "a key"."""
    armoured = re.search(
        r"-----BEGIN SSH SIGNATURE-----\s+([A-Za-z0-9+/=\s]+)-----END SSH SIGNATURE-----", signature
    )
    try:
        blob = base64.b64decode(armoured[1]) if armoured else b""
    except ValueError:
        blob = b""
    if not blob.startswith(b"SSHSIG"):
        return "a key"
    size = int.from_bytes(blob[10:14], "big")
    digest = hashlib.sha256(blob[14 : 14 + size]).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
