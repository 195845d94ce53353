"""Whether a pin was released by somebody trusted: a signed tag of the snapshot, checked by git."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.checkout.objects import Store
from gitops_flow.errors import CheckoutError
from gitops_flow.git import command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SSH = re.compile(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}(?: [^\r\n]*)?")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_KIND = re.compile(r"^-----BEGIN (SSH|PGP) SIGNATURE-----$", re.MULTILINE)
_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]+) (?:.* )?([0-9A-F]+)\s*$", re.MULTILINE)
_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Signers:
    """Public ssh keys (``type base64``) and gpg fingerprints (upper-case hex)."""

    ssh: tuple[str, ...]
    gpg: frozenset[str]


def check(keys: Sequence[str], release: str | None, commit: str) -> None:
    """Check that one of ``keys`` signed ``commit``; nothing is asked if none is given.

    Args:
        given: ssh public keys and gpg fingerprints; the worker's gpg must have the keys of those.
        release: the text of a signed tag.
        commit: 40 hex digits, what the tag must name.

    Raises:
        CheckoutError: nobody did, or one of ``keys`` is neither key nor fingerprint.
        GitflowError: there is no room to find out.
    """
    if not keys:
        return
    trusted = parsed(keys)
    if not release:
        raise _refused("it comes without a signature", "deploy again, with signing switched on")
    kinds = _KIND.findall(release)
    if not release.startswith(f"object {commit}\ntype commit\n") or len(kinds) != 1:
        raise _refused("its signature is of something else")
    command.require_version()
    try:
        good = is_by_one_of(trusted, kinds[0], lambda allowed: _verified(release, allowed))
    except OSError as error:
        raise _refused(f"it cannot be checked ({error.strerror})") from error
    if not good:
        raise _refused("its signature is not by one of them, or is broken")


def parsed(given: Sequence[str]) -> Signers:
    """``given`` by their kinds.

    Raises:
        CheckoutError: one of them is neither key nor fingerprint.
    """
    ssh, gpg = [], []
    for text in given:
        fingerprint = re.sub(r"^0X|\s", "", text.upper())
        if _SSH.fullmatch(text.strip()):
            ssh.append(" ".join(text.split()[:2]))
        elif _FINGERPRINT.fullmatch(fingerprint):
            gpg.append(fingerprint)
        else:
            raise CheckoutError(
                f"verify_signers: {text[:40]!a} is neither an ssh public key nor a gpg fingerprint",
                hint='such as "ssh-ed25519 AAAA..." or 40 hexadecimal digits',
            )
    return Signers(tuple(ssh), frozenset(gpg))


def is_by_one_of(trusted: Signers, kind: str, verified: Callable[[str], command.Result]) -> bool:
    """Whether a signature is by one of ``trusted``.

    Args:
        trusted: keys and fingerprints.
        kind: what it says of itself, ``SSH`` or ``PGP``: the other kind's keys do not count.
        verified: asks git, which is handed a file of allowed signers with this content.
    """
    if kind == "SSH":
        lines = "".join(f'* namespaces="git" {key}\n' for key in trusted.ssh)
        return bool(trusted.ssh) and verified(lines).returncode == 0
    done = verified("")
    # A good signature by any key that this machine knows ends with 0.
    valid = _VALID.findall(done.stderr)
    return done.returncode == 0 and len(valid) == 1 and not trusted.gpg.isdisjoint(valid[0])


def _verified(release: str, allowed: str) -> command.Result:
    with files.temporary("gitflow-signature-") as scratch:
        store = Store.create(scratch / "git")
        signers = scratch / "signers"
        signers.write_text(allowed)
        written = command.run(
            ["hash-object", "-t", "tag", "-w", "--stdin"],
            env=store.environment(),
            stdin=release.encode("utf-8", "replace"),
            timeout=_TIMEOUT,
        )
        args = ["verify-tag", "--raw", written.stdout.decode("ascii").strip()]
        done = command.run(
            args,
            env=store.environment(),
            config=(("gpg.ssh.allowedSignersFile", str(signers)),),
            timeout=_TIMEOUT,
            check=False,
        )
        # git keeps the signature in a file for the program that checks it.
        if done.returncode and files.unwritten(scratch, failed := command.failure(args, done)):
            raise failed
        return done


def _refused(reason: str, hint: str | None = None) -> CheckoutError:
    return CheckoutError(
        f"the pin is refused, as verify_signers asks for a signed release: {reason}",
        hint=hint or "publish it again with a trusted key, or add the signer's key to the step",
    )
