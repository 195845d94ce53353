"""A pin that asks for signers is only pulled with a signature of one of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gitops_flow.errors import CheckoutError
from gitops_flow.steps import pull_code
from gitops_flow.worker import signers
from tests.support.repo import Repo


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    made = Repo(tmp_path / "project")
    made.write("flow.py", "x").commit()
    return made


def key(path: Path) -> str:
    """Make an ssh key at ``path``; its public half."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", str(path)],
        check=True,
    )
    return path.with_suffix(".pub").read_text().strip()


def signed(repo: Repo, secret: Path | str, commit: str | None = None, form: str = "ssh") -> str:
    """The text of a signed tag."""
    config = ["-c", f"gpg.format={form}", "-c", f"user.signingkey={secret}"]
    repo.git(*config, "tag", "-s", "-f", "-m", "release", "release", commit or repo.head)
    return repo.git("cat-file", "tag", "release") + "\n"


def test_a_release_signed_by_a_trusted_ssh_key_is_pulled(repo: Repo, tmp_path: Path) -> None:
    other, own = key(tmp_path / "other"), key(tmp_path / "own")
    release = signed(repo, tmp_path / "own")
    made = pull_code(str(repo.path), repo.head, release=release, verify_signers=[other, own])
    assert (Path(made["directory"]) / "flow.py").read_text() == "x"


@pytest.mark.parametrize("case", ["unsigned", "stranger", "other commit", "changed", "two", "none"])
def test_any_other_release_is_refused_before_anything_is_fetched(
    repo: Repo, tmp_path: Path, case: str
) -> None:
    own = key(tmp_path / "own")
    key(tmp_path / "stranger")
    old, new = repo.head, repo.write("flow.py", "y").commit()
    good = signed(repo, tmp_path / "own", new)
    release = {
        "unsigned": good.split("-----BEGIN")[0],
        "stranger": signed(repo, tmp_path / "stranger", new),
        "other commit": signed(repo, tmp_path / "own", old),
        "changed": good.replace("\n\nrelease\n", "\n\nreleased\n"),
        "two": good + signed(repo, tmp_path / "stranger", new).split("\n\n", 1)[1],
        "none": None,
    }[case]
    assert release != good
    with pytest.raises(CheckoutError, match="the pin is refused"):
        pull_code(str(repo.path), new, release=release, verify_signers=own)
    assert list(Path.cwd().iterdir()) == []


def test_a_signature_for_another_purpose_is_refused(repo: Repo, tmp_path: Path) -> None:
    own = key(tmp_path / "own")
    release = signed(repo, tmp_path / "own")
    body = release[: release.index("-----BEGIN")]
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(tmp_path / "own")],
        input=body.encode(),
        capture_output=True,
        check=True,
    )
    with pytest.raises(CheckoutError, match="the pin is refused"):
        signers.check([own], body + done.stdout.decode(), repo.head)


@pytest.mark.parametrize("text", ["me@example.org", "ABCDEF", "ssh-ed25519", "ssh-rsa a\nb", ""])
def test_a_signer_that_is_no_key_is_named(repo: Repo, text: str) -> None:
    with pytest.raises(CheckoutError, match="neither an ssh public key nor"):
        signers.check([text], "", repo.head)


def gpg_key(name: str) -> str:
    """Make a gpg key in this test's HOME; its fingerprint."""
    home = Path(os.environ["HOME"]) / ".gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    quick = [
        "gpg",
        "--batch",
        "--passphrase",
        "",
        "--quick-gen-key",
        f"{name} <{name}@example.org>",
    ]
    subprocess.run([*quick, "ed25519", "sign"], check=True, capture_output=True)
    listing = subprocess.run(
        ["gpg", "--with-colons", "--list-keys", name], check=True, capture_output=True, text=True
    ).stdout
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))


@pytest.mark.real
def test_of_the_gpg_keys_that_the_worker_knows_only_the_named_one_counts(repo: Repo) -> None:
    try:
        own, stranger = gpg_key("own"), gpg_key("stranger")
        release = signed(repo, own, form="openpgp")
        signers.check([own.lower()], release, repo.head)
        with pytest.raises(CheckoutError, match="the pin is refused"):
            signers.check([stranger], release, repo.head)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False)
