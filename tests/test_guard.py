"""Work in progress that should not leave the machine is refused, with the way to allow it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.codestore import guard
from gitops_flow.errors import SnapshotError
from tests.support.repo import Repo
from tests.test_snapshot import repo, take  # noqa: F401

# Put together at run time: a scanner that reads this file must not find tokens in it.
TOKENS = {
    "a GitHub token": b"ghp_" + b"a1B2" * 9,
    "a GitLab token": b"glpat-" + b"x" * 20,
    "an AWS access key": b"AKIA" + b"ABCDEFGH234567AB",
    "a private key": b"-----BEGIN RSA PRIVATE" + b" KEY-----\n" + b"M" * 64,
    "an AWS secret key": b"aws_secret_access_key = " + b"wJalrXUtnF" * 4,
    "a Slack token": b"xoxb-" + b"123456789012-abcdefghijkl",
    "a Google API key": b"AIza" + b"B" * 35,
    "a Prefect API key": b"pnu_" + b"c" * 36,
    "a Stripe key": b"sk_live_" + b"d" * 24,
    "an npm token": b"npm_" + b"e" * 36,
    "a signed JSON web token": b"eyJhbGciOiJIUzI1NiJ9." + b"eyJzdWIiOiIxMjM0NTY3ODkw." + b"f" * 43,
    "a password in a URL": b"postgresql://" + b"user:hunter22@db.internal/x",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_in_an_untracked_file_is_refused(repo: Repo, take, kind: str) -> None:  # noqa: F811
    repo.write("config.py", b"value = '" + TOKENS[kind] + b"'\n")
    with pytest.raises(SnapshotError) as error:
        take(repo.path)
    assert error.value.paths == (f"config.py (it holds {kind})",)
    assert TOKENS[kind].decode() not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_token_in_a_wide_encoding_is_seen(encoding: str) -> None:
    text = "\ufeff" * (encoding != "utf-16") + TOKENS["a GitHub token"].decode()
    assert guard.secret_in(text.encode(encoding)) == "a GitHub token"


def test_a_token_in_a_modified_file_is_refused(repo: Repo, take) -> None:  # noqa: F811
    repo.write("flow.py", TOKENS["a GitHub token"])
    with pytest.raises(SnapshotError, match="looks like secrets"):
        take(repo.path)


def test_a_token_in_a_staged_file_is_refused(repo: Repo, take) -> None:  # noqa: F811
    repo.write("staged.py", TOKENS["a GitHub token"]).git("add", "staged.py")
    with pytest.raises(SnapshotError, match="looks like secrets"):
        take(repo.path)


def test_a_committed_token_was_decided_before(repo: Repo, take) -> None:  # noqa: F811
    repo.write("old.py", TOKENS["a GitHub token"]).commit()
    assert b"old.py" in take(repo.path).files()


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "app/.env.production",
        "prod.env",
        "id_rsa",
        "keys/id_ed25519",
        "cert.p12",
        ".netrc",
        "service-account-prod.json",
        "credentials.json",
        "secrets.yaml",
        ".aws/credentials",
        "terraform.tfstate",
    ],
)
def test_a_file_named_like_a_secret_is_refused(repo: Repo, take, name: str) -> None:  # noqa: F811
    repo.write(name, "x")
    with pytest.raises(SnapshotError) as error:
        take(repo.path)
    assert error.value.paths == (f"{name} (by its name)",)
    assert "--allow-secret" in str(error.value.hint)


@pytest.mark.parametrize(
    "name", [".env.example", ".env.sample", "environment.yml", "secrets.py", "credentials.py"]
)
def test_a_harmless_name_is_not_refused(repo: Repo, take, name: str) -> None:  # noqa: F811
    repo.write(name, "x")
    assert name.encode() in take(repo.path).files()


@pytest.mark.parametrize("text", ["ghp_short", "postgresql://user:$PASSWORD@db/x", "sk-learn"])
def test_harmless_content_is_not_refused(repo: Repo, take, text: str) -> None:  # noqa: F811
    repo.write("a.py", text)
    assert b"a.py" in take(repo.path).files()


@pytest.mark.parametrize("glob", [".env", "*.env", "conf/.env", "conf/*"])
def test_an_allowed_secret_is_in(repo: Repo, take, glob: str) -> None:  # noqa: F811
    repo.write("conf/.env", TOKENS["a GitHub token"])
    assert b"conf/.env" in take(repo.path, secrets=(glob,)).files()


def test_an_ignored_secret_is_no_matter(repo: Repo, take) -> None:  # noqa: F811
    repo.write(".gitignore", ".env\n").write(".env", "TOKEN=1")
    assert take(repo.path).left_out == {".env": "ignored"}


def test_a_refused_secret_is_refused_again_in_a_plain_folder(tmp_path: Path, take) -> None:  # noqa: F811
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_bytes(TOKENS["a GitHub token"])
    for _ in range(2):
        with pytest.raises(SnapshotError, match="looks like secrets"):
            take(folder)


def test_a_large_file_is_refused_with_its_size(repo: Repo, take) -> None:  # noqa: F811
    repo.write("model.bin", b"\0" * 2_000_001)
    with pytest.raises(SnapshotError) as error:
        take(repo.path, file_limit=2_000_000)
    assert error.value.message == "1 file over the limit of 2 MB each"
    assert error.value.paths == ("model.bin (2 MB)",)
    assert "--max-file-size" in str(error.value.hint)


def test_many_files_over_the_total_are_refused(repo: Repo, take) -> None:  # noqa: F811
    for number in range(4):
        repo.write(f"part{number}", b"\0" * 600_000)
    with pytest.raises(SnapshotError, match=r"2\.4 MB in all, over the limit of 2 MB"):
        take(repo.path, total_limit=2_000_000)


def test_a_refused_file_is_not_even_read_into_the_cache(repo: Repo, take, tmp_path: Path) -> None:  # noqa: F811
    repo.write("model.bin", b"\0" * 300_000)
    with pytest.raises(SnapshotError):
        take(repo.path, file_limit=200_000)
    objects = [p for p in (tmp_path / "cache").rglob("objects/*/*") if p.is_file()]
    assert objects == []


def test_the_default_limits_are_50_and_500_megabytes() -> None:
    assert guard.Allowance().file_limit == 50_000_000
    assert guard.Allowance().total_limit == 500_000_000


def test_a_private_key_in_json_is_seen() -> None:
    data = b'{"k": "-----BEGIN PRIVATE' + b" KEY-----\\n" + b"M" * 64 + b'"}'
    assert guard.secret_in(data) == "a private key"
