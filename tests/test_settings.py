"""Environment, files and flags to settings."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitops_flow import settings
from gitops_flow.errors import UsageError
from gitops_flow.model import CodeStoreSettings

URL = "http://env.example/api"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()
    return tmp_path


def load(place: Path, environ: dict[str, str] | None = None, **flags: Any) -> settings.Settings:
    return settings.load({"HOME": str(place / "home"), **(environ or {})}, place / "cwd", **flags)


def write(place: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def profiles(url: str = "http://profile.example/api", active: str = "mine") -> str:
    return f'active = "{active}"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n'


# Every setup is also given to Prefect itself (below): both must find the same.
SETUPS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "environment": ({"PREFECT_API_URL": URL}, {}),
    "environment in lower case": ({"prefect_api_url": URL}, {}),
    "environment over .env": (
        {"PREFECT_API_URL": URL},
        {"cwd/.env": "PREFECT_API_URL=http://d/api"},
    ),
    ".env": ({}, {"cwd/.env": "PREFECT_API_URL=http://dotenv.example/api\n"}),
    ".env in lower case": ({}, {"cwd/.env": "prefect_api_url=http://dotenv.example/api\n"}),
    ".env with quotes, export and comments": (
        {},
        {
            "cwd/.env": "# a comment\n\nexport PREFECT_API_URL = 'http://q.example/api' # why\n"
            'PREFECT_API_KEY="a\\"b\\tc"\r\nPREFECT_API_AUTH_STRING=us:pa#ss word # c\n'
            "PREFECT_DEFAULT_WORK_POOL_NAME= # nothing\nNOT A LINE\nALONE\n"
            "PREFECT_CLIENT_MAX_RETRIES=7"
        },
    ),
    ".env with a value over lines": (
        {},
        {"cwd/.env": 'PREFECT_API_URL="http://x/api"\nPREFECT_API_KEY="one\ntwo"\nX=1\n'},
    ),
    ".env with variables": (
        {"HOST": "h.example"},
        {
            "cwd/.env": "A=/api\nPREFECT_API_URL=http://${HOST}${A}\nPREFECT_API_KEY=${NO:-else}${NO}"
        },
    ),
    ".env beats prefect.toml": (
        {},
        {
            "cwd/.env": "PREFECT_API_URL=http://d/api",
            "cwd/prefect.toml": '[api]\nurl = "http://t/api"\nkey = "from-toml"\n',
        },
    ),
    "prefect.toml beats pyproject.toml": (
        {},
        {
            "cwd/prefect.toml": '[api]\nurl = "http://t/api"\n[client]\nmax_retries = 2\n',
            "cwd/pyproject.toml": '[tool.prefect.api]\nurl = "http://p/api"\nkey = "k"\n',
        },
    ),
    "pyproject.toml beats the profile": (
        {},
        {
            "cwd/pyproject.toml": '[tool.prefect.api]\nurl = "http://p/api"\n',
            "home/.prefect/profiles.toml": profiles(),
        },
    ),
    "the active profile": ({}, {"home/.prefect/profiles.toml": profiles()}),
    "PREFECT_PROFILE beats active": (
        {"PREFECT_PROFILE": "mine"},
        {"home/.prefect/profiles.toml": profiles(active="none")},
    ),
    "an unknown profile counts for nothing": (
        {"PREFECT_PROFILE": "nobody"},
        {"home/.prefect/profiles.toml": profiles()},
    ),
    "an unknown active profile counts for nothing": (
        {},
        {"home/.prefect/profiles.toml": profiles(active="nobody")},
    ),
    "Prefect's own local profile": ({"PREFECT_PROFILE": "local"}, {}),
    "PREFECT_HOME": (
        {"PREFECT_HOME": "{place}/elsewhere"},
        {
            "elsewhere/profiles.toml": profiles("http://elsewhere/api"),
            "home/.prefect/profiles.toml": profiles(),
        },
    ),
    "PREFECT_HOME without profiles": (
        {"PREFECT_HOME": "{place}/none", "PREFECT_PROFILE": "local"},
        {},
    ),
    "PREFECT_PROFILES_PATH": (
        {"PREFECT_PROFILES_PATH": "{place}/p.toml", "PREFECT_HOME": "{place}/elsewhere"},
        {
            "p.toml": profiles("http://path/api"),
            "elsewhere/profiles.toml": profiles("http://elsewhere/api"),
        },
    ),
    "PREFECT_PROFILES_PATH in .env": (
        {},
        {"cwd/.env": "PREFECT_PROFILES_PATH=p.toml", "cwd/p.toml": profiles("http://path/api")},
    ),
    "profiles_path in prefect.toml": (
        {},
        {"cwd/prefect.toml": 'profiles_path = "p.toml"', "cwd/p.toml": profiles("http://path/api")},
    ),
    "an empty variable switches off": (
        {"PREFECT_API_URL": ""},
        {"home/.prefect/profiles.toml": profiles()},
    ),
    "all of the connection": (
        {
            "PREFECT_API_URL": URL,
            "PREFECT_API_AUTH_STRING": "a:b:c",
            "PREFECT_API_KEY": "key",
            "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "TRUE",
            "PREFECT_API_SSL_CERT_FILE": "/ca.pem",
            "PREFECT_API_REQUEST_TIMEOUT": "12.5",
            "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-A": "1", "X-B": "2"}',
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "no",
            "PREFECT_CLIENT_MAX_RETRIES": "0",
            "PREFECT_DEFAULT_WORK_POOL_NAME": "pool",
        },
        {},
    ),
    "headers as a table": (
        {"PREFECT_API_URL": URL},
        {"cwd/prefect.toml": '[client.custom_headers]\nX-A = "1"\n'},
    ),
    "headers in a profile": (
        {"PREFECT_API_URL": URL},
        {
            "home/.prefect/profiles.toml": 'active = "m"\n[profiles.m]\n'
            'PREFECT_CLIENT_CUSTOM_HEADERS = \'{"X-A": "1"}\'\n'
            'PREFECT_DEFAULT_WORK_POOL_NAME = "pool"\n'
        },
    ),
    "the pool's longer name comes first": (
        {
            "PREFECT_DEFAULT_WORK_POOL_NAME": "short",
            "PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME": "long",
        },
        {},
    ),
    "the pool in prefect.toml": (
        {},
        {"cwd/prefect.toml": '[deployments]\ndefault_work_pool_name = "pool"\n'},
    ),
    "the pool in the environment beats prefect.toml": (
        {"PREFECT_DEFAULT_WORK_POOL_NAME": "env"},
        {"cwd/prefect.toml": '[deployments]\ndefault_work_pool_name = "pool"\n'},
    ),
}

# Where the setups mix the files of the tree with what is the user's own; Prefect lets them.
TRUSTED = "http://t/api http://d/api http://${HOST}/api"

ORACLE = """
import json, os, sys
from pathlib import Path
os.environ.pop("SSL_CERT_FILE", None)
from prefect.settings import sources
from prefect.settings.models.root import Settings
found = {}
for name, (environ, cwd) in json.load(sys.stdin).items():
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    sources.DEFAULT_PREFECT_HOME = Path(environ["HOME"]) / ".prefect"
    s = Settings()
    secret = lambda value: value.get_secret_value() or None if value else None
    found[name] = {
        "api_url": (s.api.url or "").rstrip("/") or None,
        "auth_string": secret(s.api.auth_string),
        "api_key": secret(s.api.key),
        "tls_verify": not s.api.tls_insecure_skip_verify,
        "ca_file": s.api.ssl_cert_file,
        "timeout": s.api.request_timeout,
        "headers": s.client.custom_headers,
        "csrf": s.client.csrf_support_enabled,
        "max_retries": s.client.max_retries,
        "pool": s.deployments.default_work_pool_name or None,
    }
json.dump(found, sys.stdout)
"""


def prepared(base: Path, number: int, name: str) -> tuple[Path, dict[str, str]]:
    place = base / str(number)
    environ, files = SETUPS[name]
    write(place, files)
    for folder in ("home", "cwd"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    return place, {key: value.replace("{place}", str(place)) for key, value in environ.items()}


def described(found: settings.Settings) -> dict[str, Any]:
    connection = found.prefect
    if connection is None:
        return {"api_url": None, "pool": found.default_work_pool}
    fields = ("api_url", "auth_string", "api_key", "tls_verify", "ca_file", "timeout", "csrf")
    return {
        **{field: getattr(connection, field) for field in fields},
        "max_retries": connection.max_retries,
        "headers": dict(connection.headers),
        "pool": found.default_work_pool,
    }


@pytest.mark.real
def test_settings_are_found_where_prefect_finds_them(tmp_path: Path) -> None:
    ours, cases = {}, {}
    for number, name in enumerate(SETUPS):
        place, environ = prepared(tmp_path, number, name)
        ours[name] = described(load(place, {**environ, "GITFLOW_TRUSTED_SERVERS": TRUSTED}))
        environ = {
            "HOME": str(place / "home"),
            "PREFECT_SILENCE_API_URL_MISCONFIGURATION": "1",
            **environ,
        }
        cases[name] = (environ, str(place / "cwd"))
    run = subprocess.run(
        [sys.executable, "-c", ORACLE],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    theirs = json.loads(run.stdout)
    for name, found in ours.items():
        assert found == {key: theirs[name][key] for key in found}, name
    assert len({json.dumps(found, sort_keys=True) for found in ours.values()}) > 15


def test_without_an_address_the_error_says_what_to_do(place: Path) -> None:
    found = load(place)
    assert found.prefect is None
    with pytest.raises(UsageError, match="no Prefect server is configured") as caught:
        found.require_prefect()
    assert "PREFECT_API_URL" in str(caught.value.hint)


def test_a_profile_can_be_named(place: Path) -> None:
    write(place, {"home/.prefect/profiles.toml": profiles(active="other")})
    assert load(place, profile="mine").require_prefect().api_url == "http://profile.example/api"
    assert load(place, profile="local").require_prefect().api_url == "http://127.0.0.1:4200/api"


def test_a_profile_that_does_not_exist_is_told_with_those_that_do(place: Path) -> None:
    write(place, {"home/.prefect/profiles.toml": profiles()})
    with pytest.raises(UsageError, match="no Prefect profile 'nope'") as caught:
        load(place, profile="nope")
    assert "mine" in str(caught.value.hint)


def test_the_certificate_file_defaults_to_pythons_own_variable(place: Path) -> None:
    environ = {"PREFECT_API_URL": URL, "SSL_CERT_FILE": "/ssl.pem"}
    assert load(place, environ).require_prefect().ca_file == "/ssl.pem"


@pytest.mark.parametrize(
    ("file", "text", "where"),
    [
        ("cwd/prefect.toml", "[api]\nurl = \n", ":2:"),
        ("cwd/pyproject.toml", '[tool]\n[tool.prefect\nx="1"', ":2:"),
        ("home/.prefect/profiles.toml", "\n\nactive = yes", ":3:"),
        ("cwd/.env", "A=1\nPREFECT_API_URL='http://x\n", ":2"),
        ("cwd/prefect.toml", "[api]\nurl = 5\n", "api.url"),
        ("cwd/prefect.toml", '[client]\nmax_retries = "many"\n', "client.max_retries"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named_with_its_place(
    place: Path, file: str, text: str, where: str
) -> None:
    write(place, {file: text})
    environ = {} if "url = 5" in text else {"PREFECT_API_URL": URL}
    with pytest.raises(UsageError) as caught:
        load(place, environ)
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(place / file))
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("files", "beside", "expected"),
    [
        ({"prefect.toml": "root"}, "a/b", "root"),
        ({"prefect.toml": "root", "a/prefect.toml": "a"}, "a/b", "a"),
        ({"prefect.toml": "root", "a/b/prefect.toml": "b"}, "a/b", "b"),
        ({"prefect.toml": "root", "a/b/.env": "DATABASE=1"}, "a/b", "root"),
        ({"../prefect.toml": "outside"}, "a/b", None),
    ],
)
def test_settings_are_those_of_the_nearest_directory_up_to_the_root_that_has_some(
    place: Path, files: dict[str, str], beside: str, expected: str | None
) -> None:
    (place / "cwd/.git").mkdir()
    (place / "cwd" / beside).mkdir(parents=True)
    for name, text in files.items():
        toml = f'[api]\nurl = "http://{text}/api"\n'
        write(place, {f"cwd/{name}": toml if name.endswith("toml") else text})
    found = load(place, directory=place / "cwd" / beside).prefect
    assert (found.api_url if found else None) == (expected and f"http://{expected}/api")


def test_of_a_nearer_directory_nothing_is_mixed_with_a_farther_one(place: Path) -> None:
    (place / "cwd/.git").mkdir()
    write(place, {"cwd/prefect.toml": '[api]\nurl = "http://root/api"\n'})
    write(place, {"cwd/a/prefect.toml": "[client]\nmax_retries = 1\n"})
    assert load(place, directory=place / "cwd/a").prefect is None


def test_without_a_repository_only_the_manifests_directory_counts(place: Path) -> None:
    write(place, {"cwd/prefect.toml": '[api]\nurl = "http://up/api"\n', "cwd/a/x": ""})
    assert load(place, directory=place / "cwd/a").prefect is None


@pytest.mark.parametrize(
    ("environ", "files", "expected"),
    [
        ({"PREFECT_API_URL": URL}, {}, "PREFECT_API_URL"),
        ({}, {"home/.prefect/profiles.toml": profiles()}, "profile mine"),
        ({"PREFECT_PROFILE": "local", "PREFECT_HOME": ""}, {}, "profile local"),
        ({}, {"cwd/prefect.toml": '[api]\nurl = "http://x/api"'}, "prefect.toml: api.url"),
        ({}, {"cwd/.env": "PREFECT_API_URL=http://x/api"}, ".env: PREFECT_API_URL"),
    ],
)
def test_a_connection_knows_which_setting_names_the_server(
    place: Path, environ: dict[str, str], files: dict[str, str], expected: str
) -> None:
    write(place, files)
    assert load(place, environ).require_prefect().named_by == expected


def test_a_file_that_is_not_text_is_named(place: Path) -> None:
    (place / "cwd/prefect.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        load(place)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_URL", "127.0.0.1:4200/api"),
        ("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "maybe"),
        ("PREFECT_API_REQUEST_TIMEOUT", "soon"),
        ("PREFECT_API_REQUEST_TIMEOUT", "nan"),
        ("PREFECT_CLIENT_MAX_RETRIES", "-1"),
        ("PREFECT_CLIENT_MAX_RETRIES", "1.5"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", "Bearer hunter22"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X": {"hunter22": 1}}'),
    ],
)
def test_a_value_that_cannot_be_understood_is_named_but_not_shown(
    place: Path, name: str, value: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(place, {"PREFECT_API_URL": URL, name: value})
    assert caught.value.where == name
    assert "hunter22" not in str(caught.value)


def test_a_strange_line_of_somebody_elses_env_file_is_skipped(place: Path) -> None:
    write(place, {"cwd/.env": "if [ x ]; then\nPREFECT_API_URL=http://x/api\n"})
    assert load(place).require_prefect().api_url == "http://x/api"


def test_secrets_are_not_in_the_repr(place: Path) -> None:
    environ = {
        "PREFECT_API_URL": URL,
        "PREFECT_API_KEY": "hunter22",
        "PREFECT_API_AUTH_STRING": "a:hunter22",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X": "hunter22"}',
        "GITFLOW_CODE_STORE_TOKEN": "hunter22",
    }
    assert "hunter22" not in repr(load(place, environ))


def test_the_code_store_comes_from_flags_over_environment(place: Path) -> None:
    environ = {
        f"GITFLOW_CODE_STORE_{name}": name.lower()
        for name in ("REMOTE", "BRANCH", "PULL_URL", "CREDENTIALS", "USERNAME", "TOKEN")
    }
    found = load(place, environ, code_store=CodeStoreSettings(branch="flag")).code_store
    assert found == CodeStoreSettings(
        remote="remote",
        branch="flag",
        pull_url="pull_url",
        credentials="credentials",
        username="username",
        token="token",
        token_for=("remote",),
    )


@pytest.mark.parametrize(
    ("environ", "flag", "expected"),
    [
        ({}, None, ()),
        ({"REMOTE": "https://h/x"}, None, ("https://h/x",)),
        ({"REMOTE": "https://h/x"}, "lan", ("lan",)),
        ({"REMOTE": "https://h/x", "TOKEN_HOST": "a b:8443"}, "lan", ("a", "b:8443")),
    ],
)
def test_the_token_is_for_what_the_environment_or_a_flag_names(
    place: Path, environ: dict[str, str], flag: str | None, expected: tuple[str, ...]
) -> None:
    said = {f"GITFLOW_CODE_STORE_{name}": value for name, value in environ.items()}
    found = load(place, said, code_store=CodeStoreSettings(remote=flag)).code_store
    assert found.token_for == expected


def test_several_addresses_for_workers_have_spaces_between(place: Path) -> None:
    environ = {"GITFLOW_CODE_STORE_PULL_URL": " http://in/x  https://out/x "}
    assert load(place, environ).code_store.pull_url == ("http://in/x", "https://out/x")
    assert load(place, {"GITFLOW_CODE_STORE_PULL_URL": " "}).code_store.pull_url is None


def test_directories_follow_our_variable_then_xdg_then_home(place: Path) -> None:
    home = place / "home"
    assert load(place).cache_dir == home / ".cache/gitops-flow"
    assert load(place).data_dir == home / ".local/share/gitops-flow"
    xdg = load(place, {"XDG_CACHE_HOME": "/x/c", "XDG_DATA_HOME": "/x/d"})
    assert (xdg.cache_dir, xdg.data_dir) == (Path("/x/c/gitops-flow"), Path("/x/d/gitops-flow"))
    own = load(place, {"GITFLOW_CACHE_DIR": "~/c", "GITFLOW_DATA_DIR": "d", "XDG_DATA_HOME": "/x"})
    assert (own.cache_dir, own.data_dir) == (home / "c", place / "cwd" / "d")


def test_a_user_without_a_home_is_told_which_directories_to_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError, match="no home directory") as caught:
        settings.load({"HOME": "", "GITFLOW_CACHE_DIR": "c"}, place / "cwd")
    assert "GITFLOW_DATA_DIR" in (caught.value.hint or "")
    environ = {"GITFLOW_CACHE_DIR": "c", "GITFLOW_DATA_DIR": "d"}
    assert settings.load(environ, place / "cwd").cache_dir == place / "cwd/c"


def test_a_relative_xdg_directory_is_ignored(place: Path) -> None:
    assert load(place, {"XDG_CACHE_HOME": "c"}).cache_dir == place / "home/.cache/gitops-flow"


def test_libraries_that_few_manifests_need_are_not_loaded_without_need() -> None:
    code = (
        "import sys\nfrom gitops_flow.cli import boundary\nboundary.run(['--version'])\n"
        "from gitops_flow import manifest\nmanifest.parse(b'deployments: []', 'p.yaml')\n"
        "print([each for each in ('croniter', 'dateutil', 'dotenv') if each in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("\n[]\n"), told.stdout


def test_the_line_of_an_env_file_that_cannot_be_read_is_named(place: Path) -> None:
    write(place, {"cwd/.env": "A=1\n\n\n  PREFECT_API_KEY='open\n\nB=2\n"})
    with pytest.raises(UsageError) as caught:
        load(place)
    assert str(caught.value.where).endswith(".env:4")
