"""Signed releases: made by git, kept by the ledger, told by history, and given to workers."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitops_flow import plan, settings
from gitops_flow.checkout.objects import Store
from gitops_flow.cli import boundary
from gitops_flow.codestore import sign, trim
from gitops_flow.errors import CodeStoreError, GitflowError, UsageError
from gitops_flow.git import command, repository
from gitops_flow.model import CodeStoreSettings, Deployment
from gitops_flow.pin import PULL_CODE
from gitops_flow.worker import signers
from tests.support.prefect import SharedServer
from tests.support.project import NearProject
from tests.support.releases import Shop
from tests.support.repo import Repo


def _key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub")


def _with_key(repo: Repo, key: Path) -> None:
    repo.git("config", "gpg.format", "ssh")
    repo.git("config", "user.signingkey", key)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    _with_key(made.repo, _key(tmp_path / "ann"))
    return made


def _signer(shop: Shop, *, snapshot: str | None = None, text: str | None = None) -> sign.Signer:
    chain = shop.chain()
    entry = chain.entries[0]
    repo = repository.discover(shop.repo.path)
    return sign.check(chain.path, repo, snapshot or entry.snapshot, text or entry.signature or "")


def _trust(shop: Shop, key: Path, name: str = "ann@x") -> None:
    allowed = shop.base / "allowed"
    allowed.write_text(f"{name} {key.read_text()}")
    shop.repo.git("config", "gpg.ssh.allowedSignersFile", allowed)


def test_a_signed_release_passes_the_servers_checks_and_gits_own(shop: Shop) -> None:
    shop.release("1\n", sign=True)
    shop.server.git("fsck", "--strict")
    shop.server.git("config", "gpg.ssh.allowedSignersFile", shop.base / "allowed")
    (shop.base / "allowed").write_text(f"ann@x {(shop.base / 'ann.pub').read_text()}")
    shown = shop.server.git("log", "-1", "--show-signature", "code-store")
    assert "signature for ann@x" in shown


def test_a_signature_is_of_the_snapshot_and_names_nothing_else(shop: Shop) -> None:
    shop.release("1\n", sign=True)
    (entry,) = shop.chain().entries
    assert entry.signature is not None
    assert entry.signature.startswith(f"object {entry.snapshot}\ntype commit\n")
    assert entry.signature.endswith("-----END SSH SIGNATURE-----\n")
    assert "{{" not in entry.signature


def test_signing_leaves_no_tag_in_the_private_store(shop: Shop) -> None:
    shop.release("1\n", sign=True)
    (store,) = (shop.base / "cache/stores").glob("*.git")
    assert Repo(store, init=False).git("tag") == ""


def test_a_signer_that_is_known_is_named(shop: Shop) -> None:
    shop.release("1\n", sign=True)
    _trust(shop, shop.base / "ann.pub")
    assert _signer(shop) == sign.Signer("ann@x", "good")


def test_a_key_that_nobody_vouches_for_is_told_by_its_fingerprint(shop: Shop) -> None:
    shop.release("1\n", sign=True)
    done = subprocess.run(
        ["ssh-keygen", "-lf", str(shop.base / "ann.pub")],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = sign.Signer(done.stdout.split()[1], "unknown")
    assert _signer(shop) == expected
    _trust(shop, _key(shop.base / "bob"))
    assert _signer(shop) == expected


@pytest.mark.parametrize(
    "forge",
    [
        lambda text, other: text.replace("release of", "release 0f"),
        lambda text, other: text.replace(text[7:47], other, 1),
        lambda text, other: f"object {other}\n{text}",
        lambda text, other: text.replace("type commit", "type tree"),
        lambda text, other: text.partition("-----BEGIN")[0],
        lambda text, other: "",
    ],
    ids=["message", "object", "first line", "type", "unsigned", "empty"],
)
def test_a_forged_signature_is_bad(shop: Shop, forge: Callable[[str, str], str]) -> None:
    shop.release("1\n", sign=True)
    _trust(shop, shop.base / "ann.pub")
    (entry,) = shop.chain().entries
    forged = forge(entry.signature or "", "1" * 40) or "x"
    assert _signer(shop, text=forged).state == "bad"


def test_the_signature_of_another_snapshot_is_bad(shop: Shop) -> None:
    shop.release("1\n", sign=True)
    _trust(shop, shop.base / "ann.pub")
    assert _signer(shop, snapshot="1" * 40).state == "bad"


def test_what_was_published_unsigned_is_published_again_when_it_is_signed(shop: Shop) -> None:
    shop.release("1\n")
    assert shop.release("1\n", sign=True).pushed
    assert not shop.release("1\n", sign=True).pushed


def test_signatures_survive_gc(shop: Shop) -> None:
    shop.release("0\n")
    shop.release("1\n", sign=True)
    before = shop.chain()
    trim.rewrite(before, before.entries[:1], shop.found, shop.target)
    _trust(shop, shop.base / "ann.pub")
    assert shop.chain().entries[0].id != before.entries[0].id
    assert _signer(shop).state == "good"


def test_history_and_show_say_who_signed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.release("0\n")
    shop.release("1\n", sign=True)
    _trust(shop, shop.base / "ann.pub")
    monkeypatch.chdir(shop.repo.path)
    assert boundary.run(["history", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["releases"]
    assert [each["signed"] for each in listed] == [{"by": "ann@x", "state": "good"}, None]
    assert boundary.run(["show", "@1"]) == 0
    assert "signed     by ann@x\n" in capsys.readouterr().out


def test_without_a_key_nothing_is_published_and_the_error_says_what_to_set(shop: Shop) -> None:
    shop.repo.git("config", "user.signingkey", shop.base / "gone.pub")
    with pytest.raises(CodeStoreError) as caught:
        shop.release("1\n", sign=True)
    assert "cannot be signed" in caught.value.message
    assert "user.signingkey" in (caught.value.hint or "")
    assert shop.chain().entries == ()


def test_gpg_signs_as_well(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("/tmp") / f"gitflow-gpg-{tmp_path.name[-20:]}"  # a socket's path has to be short
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    try:
        _gpg("--passphrase", "", "--quick-generate-key", "Ann <ann@x>", "ed25519", "sign", "never")
        shop.repo.git("config", "gpg.format", "openpgp")
        shop.repo.git("config", "user.signingkey", "ann@x")
        shop.release("1\n", sign=True)
        assert _signer(shop) == sign.Signer("Ann <ann@x>", "good")
        monkeypatch.setenv("GNUPGHOME", str(tmp_path))
        tmp_path.chmod(0o700)
        assert _signer(shop).state == "unknown"
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        subprocess.run(["rm", "-rf", str(home)], check=True)


@pytest.mark.parametrize("fails", ["our file", "git's object", "git's own file"])
def test_no_room_to_check_a_signature_is_no_bad_signature(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    shop.release("1\n", sign=True)
    (entry,) = shop.chain().entries
    key = _key(tmp_path / "key").read_text()
    full = "No space left on device"

    def create(_: Path) -> Store:
        raise OSError(errno.ENOSPC, full)

    def run(args: list[str], **more: Any) -> command.Result:
        if args[0] == {"git's object": "hash-object", "git's own file": "verify-tag"}[fails]:
            failed = command.Result(128, b"", f"error: could not create temporary file: {full}")
            if more.get("check", True):
                raise command.failure(args, failed)
            return failed
        return real(args, **more)

    real = command.run
    if fails == "our file":
        monkeypatch.setattr(Store, "create", create)
    else:
        monkeypatch.setattr(command, "run", run)
    with pytest.raises(GitflowError, match=f"directory cannot be written: {full}") as told:
        signers.check([key], entry.signature, entry.snapshot)
    assert told.value.where
    assert (told.value.retry, "TMPDIR" in str(told.value.hint)) == (True, True)


def _gpg(*args: str) -> None:
    try:
        subprocess.run(["gpg", "--batch", "--quiet", *args], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("gpg is not installed")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(True, None, True), (None, True, True), (False, True, False), (None, None, None)],
)
def test_the_nearest_setting_decides_whether_to_sign(
    first: bool | None, second: bool | None, expected: bool | None
) -> None:
    assert CodeStoreSettings(sign=first).over(CodeStoreSettings(sign=second)).sign is expected


@pytest.mark.parametrize(("said", "expected"), [("1", True), ("no", False), ("", None)])
def test_the_environment_can_ask_for_signatures(said: str, expected: bool | None) -> None:
    assert settings.load({"GITFLOW_SIGN": said}, Path("/")).code_store.sign is expected


def test_an_environment_that_is_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(UsageError, match="expected true or false"):
        settings.load({"GITFLOW_SIGN": "maybe"}, Path("/"))


def _step(**inputs: str) -> Deployment:
    return Deployment("f", "d", "f.py:f", pull_steps=({PULL_CODE: {"commit": "c", **inputs}},))


def test_another_signature_is_no_difference_but_a_missing_one_is() -> None:
    def differ(one: Deployment, other: Deployment) -> bool:
        (action,) = plan.make([one], [other], source_mark="gitflow:x", adopt=True).actions
        return isinstance(action, plan.Update) and "pull_steps" in action.fields

    assert not differ(_step(release="one"), _step(release="other"))
    assert differ(_step(release="one"), _step())
    assert differ(_step(), _step(release="other"))


@pytest.mark.real
def test_a_deploy_signs_once_and_gives_the_signature_to_the_worker(
    tmp_path: Path, prefect_server: SharedServer, namespace: str
) -> None:
    project = NearProject(tmp_path / "project", prefect_server)
    text = (
        f"name: {namespace}\n"
        "deployments:\n"
        '  - {name: main, entrypoint: "flow.py:hello", work_pool: {name: gitflow-tests}}\n'
        "gitflow: {code_store: {sign: true}}\n"
    )
    flow = f'from prefect import flow\n@flow(name="{namespace}")\ndef hello(): pass\n'
    project.repo.write("prefect.yaml", text).write("flow.py", flow).commit()
    _with_key(project.repo, _key(tmp_path / "ann"))
    report = project.deploy("--all", "--create-pools")
    (step,) = project.live(namespace, "main")["pull_steps"]
    inputs = step[PULL_CODE]
    assert inputs["release"].startswith(f"object {inputs['commit']}\n")
    assert report["code_store"]["signed"] is True
    # No key is needed where nothing is to be pinned.
    project.repo.git("config", "user.signingkey", tmp_path / "gone.pub")
    again = project.deploy()
    assert [each["status"] for each in again["deployments"]] == ["unchanged"]
    assert project.live(namespace, "main")["pull_steps"] == [step]
    project.repo.write("flow.py", flow + "# more\n")
    assert "cannot be signed" in project.gitflow("deploy", code=1).stderr
    assert project.live(namespace, "main")["pull_steps"] == [step]
