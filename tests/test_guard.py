"""Work in progress that should not leave the machine is refused, with the way to allow it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from gitops_flow.codestore import detect, guard
from gitops_flow.errors import SnapshotError
from tests.support import secrets
from tests.support.repo import Repo
from tools.secretrules import __main__ as secretrules

PRIVATE_KEY = b"-----BEGIN RSA PRIVATE" + b" KEY-----\n" + b"MIIEpAIBAAKCAQEA7xQz" * 4
TOKEN = b"ghp_" + b"aK3jD9fLq2ZxV7bN1mQ8wE5rT6yU4iO0pAsD"


@pytest.fixture
def repo(repo: Repo) -> Repo:
    repo.write("flow.py", "print('one')\n").write("lib/helper.py", "x = 1\n").commit()
    return repo


def test_at_least_19_of_20_shapes_of_secrets_are_found() -> None:
    shapes = secrets.shapes()
    missed = [label for label, data in shapes.items() if not detect.secret_in(data)]
    assert len(shapes) >= 150
    assert len(missed) <= len(shapes) / 20, missed


def test_at_least_19_of_20_names_of_secrets_are_found() -> None:
    missed = [name for name in secrets.NAMES if not detect.secret_name(name)]
    assert len(secrets.NAMES) >= 90
    assert len(missed) <= len(secrets.NAMES) / 20, missed


@pytest.mark.parametrize("label", secrets.EXAMPLES)
def test_an_example_is_no_secret(label: str) -> None:
    assert detect.secret_in(secrets.EXAMPLES[label].encode()) is None


@pytest.mark.parametrize("name", secrets.ORDINARY_NAMES)
def test_an_ordinary_name_is_no_secret(name: str) -> None:
    assert not detect.secret_name(name)


def test_nothing_is_found_in_this_program() -> None:
    root = Path(guard.__file__).parents[1]
    assert [p for p in root.rglob("*.py") if detect.secret_in(p.read_bytes())] == []


def test_the_data_file_holds_our_own_rules_as_they_are_written() -> None:
    data = json.loads(secretrules.TARGET.read_text("utf-8"))
    own = tomllib.loads(secretrules.OWN.read_text("utf-8"))
    assert {key: data[key] for key in own} == own


def test_the_data_file_names_the_collection_its_version_and_its_licence() -> None:
    collection = json.loads(secretrules.TARGET.read_text("utf-8"))["collection"]
    assert collection["name"] == "betterleaks"
    assert collection["version"]
    assert collection["licence"].startswith("MIT License")


@pytest.mark.parametrize(
    "text",
    [b"a" * 300_000, b"a1" * 150_000, b"://a:" * 60_000, b"key = " * 50_000, b"password=host=" * 20_000],
    ids=["letters", "digits", "addresses", "keys", "passwords"],
)  # fmt: skip
def test_no_text_makes_the_search_slow(text: bytes) -> None:
    # Without bounds on repetitions this takes hours, and the test's time limit ends it.
    assert detect.secret_in(text) is None


def test_a_refusal_names_the_line_and_the_rule_but_not_the_secret(repo: Repo, take) -> None:
    repo.write("config.py", b"import os\n\nvalue = '" + TOKEN + b"'\n")
    with pytest.raises(SnapshotError) as error:
        take(repo.path)
    assert error.value.paths == ("config.py (line 3: GitHub token)",)
    assert TOKEN.decode() not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_token_in_a_wide_encoding_is_seen(encoding: str) -> None:
    text = "\ufeff" * (encoding != "utf-16") + TOKEN.decode()
    assert detect.secret_in(text.encode(encoding)) == ("GitHub token", 1)


def test_a_token_in_one_of_many_new_files_is_refused(repo: Repo, take) -> None:
    for number in range(1_000):
        repo.write(f"new/{number}.py", f"x = {number}\n")
    repo.write("new/500.py", b"x = 1\nkey = '" + TOKEN + b"'\n")
    for _ in range(2):
        with pytest.raises(SnapshotError) as caught:
            take(repo.path)
        assert caught.value.paths == ("new/500.py (line 2: GitHub token)",)


def test_a_token_in_a_modified_file_is_refused(repo: Repo, take) -> None:
    repo.write("flow.py", TOKEN)
    with pytest.raises(SnapshotError, match="looks like secrets"):
        take(repo.path)


def test_a_token_in_a_staged_file_is_refused(repo: Repo, take) -> None:
    repo.write("staged.py", TOKEN).git("add", "staged.py")
    with pytest.raises(SnapshotError, match="looks like secrets"):
        take(repo.path)


def test_a_committed_token_was_decided_before(repo: Repo, take) -> None:
    repo.write("old.py", TOKEN).commit()
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
def test_a_file_named_like_a_secret_is_refused(repo: Repo, take, name: str) -> None:
    repo.write(name, "x")
    with pytest.raises(SnapshotError) as error:
        take(repo.path)
    assert error.value.paths == (f"{name} (by its name)",)
    assert "‹allow_secrets›" in str(error.value.hint)


@pytest.mark.parametrize(
    "name", [".env.example", ".env.sample", "environment.yml", "secrets.py", "credentials.py"]
)
def test_a_harmless_name_is_not_refused(repo: Repo, take, name: str) -> None:
    repo.write(name, "x")
    assert name.encode() in take(repo.path).files()


@pytest.mark.parametrize("text", ["ghp_short", "postgresql://user:$PASSWORD@db/x", "sk-learn"])
def test_harmless_content_is_not_refused(repo: Repo, take, text: str) -> None:
    repo.write("a.py", text)
    assert b"a.py" in take(repo.path).files()


@pytest.mark.parametrize("glob", [".env", "*.env", "conf/.env", "conf/*"])
def test_an_allowed_secret_is_in(repo: Repo, take, glob: str) -> None:
    repo.write("conf/.env", TOKEN)
    assert b"conf/.env" in take(repo.path, secrets=(glob,)).files()


def test_an_ignored_secret_is_no_matter(repo: Repo, take) -> None:
    repo.write(".gitignore", ".env\n").write(".env", "TOKEN=1")
    assert take(repo.path).left_out == {".env": "ignored"}


def test_a_refused_secret_is_refused_again_in_a_plain_folder(tmp_path: Path, take) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_bytes(TOKEN)
    for _ in range(2):
        with pytest.raises(SnapshotError, match="looks like secrets"):
            take(folder)


def test_a_large_file_is_refused_with_its_size(repo: Repo, take) -> None:
    repo.write("model.bin", b"\0" * 2_000_001)
    with pytest.raises(SnapshotError) as error:
        take(repo.path, file_limit=2_000_000)
    assert error.value.message == "1 file over the limit of 2 MB each"
    assert error.value.paths == ("model.bin (2 MB)",)
    assert "‹max_file_size›" in str(error.value.hint)


def test_many_files_over_the_total_are_refused(repo: Repo, take) -> None:
    for number in range(4):
        repo.write(f"part{number}", b"\0" * 600_000)
    with pytest.raises(SnapshotError, match=r"2\.4 MB in all, over the limit of 2 MB"):
        take(repo.path, total_limit=2_000_000)


def test_a_refused_file_is_not_even_read_into_the_cache(repo: Repo, take, tmp_path: Path) -> None:
    repo.write("model.bin", b"\0" * 300_000)
    with pytest.raises(SnapshotError):
        take(repo.path, file_limit=200_000)
    objects = [p for p in (tmp_path / "cache").rglob("objects/*/*") if p.is_file()]
    assert objects == []


def test_the_default_limits_are_50_and_500_megabytes() -> None:
    assert guard.Allowance().file_limit == 50_000_000
    assert guard.Allowance().total_limit == 500_000_000


def test_what_was_searched_before_is_not_searched_again(repo: Repo, take, monkeypatch) -> None:
    repo.write("a.py", "x = 1\n")
    take(repo.path)
    searched: list[bytes] = []
    monkeypatch.setattr(detect, "secret_in", searched.append)
    repo.write("b.py", "y = 2\n")
    take(repo.path)
    assert searched == [b"y = 2\n"]


def test_other_rules_search_everything_again(repo: Repo, take, monkeypatch) -> None:
    repo.write("a.py", "x = 1\n")
    take(repo.path)
    searched: list[bytes] = []
    monkeypatch.setattr(detect, "secret_in", searched.append)
    monkeypatch.setattr(detect, "digest", lambda: "00" * 32)
    take(repo.path)
    assert searched == [b"x = 1\n"]
