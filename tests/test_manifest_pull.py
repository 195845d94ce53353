"""Pull steps: what is carried over to the pinned step, and what is left to an image."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_flow import manifest
from gitops_flow.pin import Pin
from tests.support.manifests import BASE, CLONE, FLOW, GO_TO, OURS, OWN, PIP, pulled, resolve

[(PULL, INPUTS)] = OURS.items()
STOCK = {CLONE: {"repository": OWN, "commit_sha": "c" * 40, "clone_directory_name": "own-cccc"}}
TOKEN = "{{ prefect.blocks.secret.token }}"


def clone(inputs: str, **given: Any) -> tuple[dict[str, Any], list[str]]:
    """What becomes of a clone of this repository with further inputs, and the problems."""
    steps, problems = pulled(f"pull:\n- {CLONE}: {{repository: {OWN}, {inputs}}}\n", **given)
    assert steps is not None
    [[(_, found)]] = [list(step.items()) for step in steps]
    return found, problems


def test_directories_are_carried_over() -> None:
    assert clone("directories: [a, b]") == ({**INPUTS, "directories": ["a", "b"]}, [])


@pytest.mark.parametrize(
    ("inputs", "credentials"),
    [
        (f"access_token: '{TOKEN}'", TOKEN),
        ("access_token: 'x-token-auth:{{ $TOKEN }}'", "x-token-auth:{{ $TOKEN }}"),
        ("access_token: '{{ get-token.stdout }}'", "{{ get-token.stdout }}"),
        (
            "credentials: '{{ prefect.blocks.github-credentials.x }}'",
            "{{ prefect.blocks.github-credentials.x }}",
        ),
        (
            f"credentials: {{username: bob, password: '{TOKEN}'}}",
            {"username": "bob", "password": TOKEN},
        ),
    ],
)
def test_credentials_are_carried_over_as_placeholders(inputs: str, credentials: Any) -> None:
    found, _ = clone(inputs)
    assert found == {**INPUTS, "credentials": credentials}


@pytest.mark.parametrize("key", ["access_token", "credentials"])
def test_literal_secret_is_an_error_that_does_not_show_it(key: str) -> None:
    deployments, [problem] = resolve(
        f"pull:\n- {CLONE}: {{repository: {OWN}, {key}: hunter2}}\n{BASE}"
    )
    assert deployments == []
    assert problem == (
        f"error: p.yaml:2:3: pull[0]: {key} is not a placeholder; a literal secret would be "
        "readable by everybody (write '{{ prefect.blocks.secret.NAME }}')"
    )


def test_secret_from_a_build_step_is_warned_of_and_not_called_literal() -> None:
    text = f"build: [{{a.b: {{id: t}}}}]\npull:\n- {CLONE}: {{repository: {OWN}, access_token: '{{{{ t.x }}}}'}}\n"
    [found], problems = resolve(text + BASE, outputs={0: {"t": {"x": "hunter2"}}})
    assert found.pull_steps == ({PULL: {**INPUTS, "credentials": "hunter2"}},)
    assert len(problems) == 1
    assert "will be stored on the server in clear" in problems[0]
    assert "hunter2" not in problems[0]


def test_credentials_of_the_code_store_come_first() -> None:
    ours = {PULL: {**INPUTS, "credentials": "{{ prefect.blocks.secret.store }}"}}
    found, problems = clone(f"access_token: '{TOKEN}'", pull_step=ours, notes=True)
    assert found == ours[PULL]
    assert problems[-1].startswith("note: ")
    assert "its credentials give way to those of gitflow" in problems[-1]


def store_at(address: Any) -> dict[str, Any]:
    return {PULL: {**INPUTS, "repository": address}}


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/store.git",
        "https://EXAMPLE.com:443/store.git",
        "https://example.com/another/place.git",
        "git@example.com:store.git",
        "/store",
        "file:///store",
        ["https://example.com/store.git", "/store"],
    ],
)
def test_credentials_are_carried_over_to_the_host_that_they_are_for(address: Any) -> None:
    found, problems = clone(f"access_token: '{TOKEN}'", pull_step=store_at(address))
    assert found == {**store_at(address)[PULL], "credentials": TOKEN}
    assert problems == []


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://other.example/store.git", "other.example"),
        ("https://example.com:8443/store.git", "example.com:8443"),
        ("https://example.com.evil.example/store.git", "example.com.evil.example"),
        ("git@other.example:store.git", "other.example"),
        (["https://example.com/store.git", "https://other.example/store.git"], "other.example"),
    ],
)
@pytest.mark.parametrize("key", ["access_token", "credentials"])
def test_credentials_are_not_offered_to_another_host(key: str, address: Any, host: str) -> None:
    found, [problem] = clone(f"{key}: '{TOKEN}'", pull_step=store_at(address))
    assert found == store_at(address)[PULL]
    assert problem.startswith("warning: ")
    assert f"its credentials are not carried over: {host} is another host" in problem
    assert "gitflow: {code_store: {credentials: " in problem


def test_credentials_are_not_offered_to_another_host_by_prefects_own_clone() -> None:
    stock = {CLONE: {**STOCK[CLONE], "repository": "https://other.example/store.git"}}
    found, [problem] = clone(f"access_token: '{TOKEN}'", pull_step=stock)
    assert found == stock[CLONE]
    assert "is another host" in problem


def test_a_token_in_the_address_is_not_offered_to_another_host() -> None:
    own = {"is_own_repository": lambda address: "example.com/own" in address}
    address = "https://{{ $PAT }}@example.com/own.git"
    text = f"pull:\n- {CLONE}: {{repository: '{address}'}}\n"
    step = store_at("https://other.example/store.git")
    steps, [problem] = pulled(text, env={"PAT": "hunter2"}, pull_step=step, **own)
    assert steps == (step,)
    assert "hunter2" not in problem


def test_placeholder_in_the_address_is_carried_over_and_a_literal_is_not() -> None:
    own = {"is_own_repository": lambda address: "example.com/own" in address}
    text = "pull:\n- %s: {repository: 'https://%s@example.com/own.git'}\n"
    steps, problems = pulled(text % (CLONE, "{{ $PAT }}"), env={"PAT": "hunter2"}, **own)
    assert steps == ({PULL: {**INPUTS, "credentials": "{{ $PAT }}"}},)
    assert problems == []
    steps, [problem] = pulled(text % (CLONE, "me:hunter2"), **own)
    assert steps == (OURS,)
    assert "the user name and password in the address are not carried over" in problem
    assert "hunter2" not in problem


def test_branch_commit_and_directory_name_give_way_to_the_pin() -> None:
    assert clone("branch: main, clone_directory_name: x, include_submodules: true") == (INPUTS, [])


OWN_PULL = f"pull:\n- {PULL}: {{repository: {OWN}, isolation: shared, verify_signers: [key]}}\n"


def test_what_a_step_of_ours_asks_of_the_checkout_stays() -> None:
    steps, _ = pulled(OWN_PULL)
    assert steps == ({PULL: {**INPUTS, "isolation": "shared", "verify_signers": ["key"]}},)


def test_prefects_step_in_the_place_of_one_that_asks_for_a_signature_is_warned_of() -> None:
    steps, problems = pulled(OWN_PULL, pull_step=STOCK)
    assert steps == (STOCK,)
    assert any("checks no signature" in each for each in problems)


def test_step_that_names_the_former_directory_is_warned_of() -> None:
    text = f"pull:\n- {CLONE}: {{repository: {OWN}, clone_directory_name: shop}}\n- {PIP}: {{directory: shop/x}}\n"
    _, [problem] = pulled(text)
    assert problem == (
        f"warning: p.yaml:3:3: pull[1]: {PIP} names 'shop', which is not there with the pinned "
        "code (give the clone an id, and write {{ id.directory }})"
    )


def test_replaced_inputs_leave_nothing_unknown() -> None:
    text = "build: [{a.b: {id: git}}]\npull:\n- %s: {repository: %s, branch: '{{ git.branch }}'}\n"
    [found], problems = resolve(text % (CLONE, OWN) + BASE)
    assert (found.pull_steps, found.unknown, problems) == ((OURS,), (), [])


def test_placeholder_that_no_step_can_fill_in_on_the_worker_is_warned_of() -> None:
    text = f"pull:\n- {CLONE}: {{repository: {OWN}, id: clone}}\n- {PIP}: {{directory: '{{{{ clon.directory }}}}'}}\n"
    _, problems = pulled(text)
    assert problems == [
        (
            f"warning: p.yaml:3:{len(PIP) + 17}: pull[1].{PIP}.directory: nothing will fill in "
            "{{ clon.directory }} on the worker (did you mean 'clone'?)"
        )
    ]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "p.yaml:2:3: deployments[0] 'daily': no pull steps: the pinned code is pulled"),
        (
            f"pull:\n- {CLONE}: {{repository: {OWN}}}\n",
            f"p.yaml:2:3: pull[0]: {CLONE} becomes a pull of the pinned code",
        ),
        (
            f"pull:\n- {GO_TO}: {{directory: /app}}\n",
            f"p.yaml:2:3: pull[0]: {GO_TO} becomes a pull of the pinned code",
        ),
        ("pull:\n- a.b: {}\n", "p.yaml:2:1: pull: the pinned code is pulled first"),
    ],
)
def test_note_tells_what_became_of_the_pull_steps(text: str, note: str) -> None:
    _, problems = pulled(text, notes=True)
    assert problems == [f"note: {note}"]


def test_stock_clone_takes_the_place_and_the_id_and_the_credentials() -> None:
    later = {GO_TO: {"directory": "{{ code.directory }}/sub"}}
    text = f"pull:\n- {CLONE}: {{id: code, repository: {OWN}, access_token: '{TOKEN}', directories: [a]}}\n- {later}\n"
    steps, problems = pulled(text, pull_step=[STOCK])
    expected = {"id": "code", **STOCK[CLONE], "access_token": TOKEN, "directories": ["a"]}
    assert steps == ({CLONE: expected}, later)
    assert problems == []


def test_all_of_several_steps_of_ours_take_the_place() -> None:
    then = {GO_TO: {"directory": "own-cccc/sub"}}
    text = f"pull:\n- a.b: {{}}\n- {CLONE}: {{repository: {OWN}}}\n- a.c: {{}}\n"
    assert pulled(text, pull_step=[STOCK, then])[0] == ({"a.b": {}}, STOCK, then, {"a.c": {}})
    assert pulled("", pull_step=[STOCK, then])[0] == (STOCK, then)


# Directories.


def test_pinned_step_ends_in_the_directory() -> None:
    assert manifest.in_directory((OURS,), "sub") == ({PULL: {**INPUTS, "directory": "sub"}},)
    assert manifest.in_directory((OURS,), "") == (OURS,)
    assert manifest.in_directory(None, "sub") is None
    assert manifest.in_directory((), "sub") == ()
    assert manifest.in_directory(({"a.b": {}},), "sub") == ({"a.b": {}},)


@pytest.mark.parametrize(
    "ours", [{PULL: {**INPUTS, "source": {}}}, Pin(("own",), "c" * 40, stock=True).step()]
)
def test_a_step_that_fetches_another_repository_first_gets_no_directory(
    ours: dict[str, Any],
) -> None:
    library = {PULL: {"repository": "library", "commit": "1" * 40}}
    assert manifest.in_directory((library, ours), "sub") == (
        library,
        *(manifest.in_directory((ours,), "sub") or ()),
    )


@pytest.mark.parametrize("ours", [OURS, STOCK])
def test_manifest_that_finds_its_own_way_is_left_alone(ours: dict[str, Any]) -> None:
    [(name, inputs)] = ours.items()
    steps = (
        {name: {"id": "clone", **inputs}},
        {GO_TO: {"directory": "{{ clone.directory }}/sub"}},
    )
    assert manifest.in_directory(steps, "sub") == steps


def test_steps_between_find_the_root_of_the_code() -> None:
    pip = {PIP: {"directory": "{{ clone.directory }}"}}
    steps = ({PULL: {"id": "clone", **INPUTS}}, pip)
    assert manifest.in_directory(steps, "sub") == (
        *steps,
        {GO_TO: {"directory": "{{ clone.directory }}/sub"}},
    )


def test_stock_clone_is_followed_by_the_way_to_the_directory() -> None:
    assert manifest.in_directory((STOCK,), "a/b") == (
        {CLONE: {**STOCK[CLONE], "id": "pinned-code"}},
        {GO_TO: {"directory": "{{ pinned-code.directory }}/a/b"}},
    )


# Images.

DOCKER = "prefect_docker.deployments.steps.build_docker_image"


@pytest.mark.parametrize(
    ("build", "steps"),
    [
        (f"{DOCKER}: {{dockerfile: auto}}", ({GO_TO: {"directory": "/opt/prefect/shop"}},)),
        (f"{DOCKER}: {{dockerfile: Dockerfile}}", ()),
        ("my.buildpacks.build: {}", ({GO_TO: {"directory": "/opt/prefect"}},)),
        ("prefect.deployments.steps.run_shell_script: {script: docker build .}", (OURS,)),
    ],
)
def test_code_that_is_built_into_an_image_is_left_there(
    build: str, steps: tuple[dict[str, Any], ...]
) -> None:
    read = manifest.parse(f"build:\n- {build}\n{BASE}".encode(), "p.yaml", directory="shop")
    [found], _ = manifest.resolve(
        read,
        mark="gitflow:x-0",
        pull_step=OURS,
        default_version=None,
        flows={"f.py:g": FLOW},
        answers=manifest.Answers(),
        default_work_pool="p",
    )
    assert found.pull_steps == steps


def test_pull_section_wins_over_the_image() -> None:
    text = f"build:\n- {DOCKER}: {{dockerfile: auto}}\npull:\n- {CLONE}: {{repository: {OWN}}}\n"
    assert pulled(text)[0] == (OURS,)


def test_image_is_told_in_a_note() -> None:
    text = f"build:\n- {DOCKER}: {{dockerfile: auto}}\n"
    _, problems = pulled(text, notes=True)
    assert problems == [
        (
            "note: p.yaml:4:3: deployments[0] 'daily': no pull steps: the code is left to the "
            "image that is built"
        )
    ]


# Submodules.


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", False),
        (f"pull:\n- {CLONE}: {{include_submodules: true}}\n", True),
        (f"pull:\n- {CLONE}: {{include_submodules: false}}\n", False),
        (f"pull: {{{CLONE}: {{include_submodules: true}}}}\n", True),
    ],
)
def test_submodules_are_wanted_where_a_clone_includes_them(text: str, wanted: bool) -> None:
    read = manifest.parse((text + BASE).encode(), "p.yaml")
    assert manifest.wants_submodules(read) is wanted
    assert manifest.wants_submodules(read, ()) is False


def test_deployments_own_pull_section_decides_on_submodules() -> None:
    text = f"pull:\n- {CLONE}: {{include_submodules: true}}\n{BASE}  pull: []\n"
    assert not manifest.wants_submodules(manifest.parse(text.encode(), "p.yaml"))


def test_whether_a_clone_is_pinned_is_known_after_build_where_a_step_gives_its_address() -> None:
    text = f"build: [{{a.b: {{id: where}}}}]\npull:\n- {CLONE}: {{repository: '{{{{ where.url }}}}'}}\n"
    [planned], problems = resolve(text + BASE, notes=True)
    assert planned.unknown == ("pull_steps",)
    assert problems == [
        "note: p.yaml:3:3: pull[0]: whether its code is pinned is known after build"
    ]
    [built], _ = resolve(text + BASE, outputs={0: {"where": {"url": OWN}}})
    assert (built.pull_steps, built.unknown) == ((OURS,), ())
    [other], [warning] = resolve(
        text + BASE, outputs={0: {"where": {"url": "https://else.where/x"}}}
    )
    assert other.pull_steps == ({CLONE: {"repository": "https://else.where/x"}},)
    assert "it decides which code runs, so the code is not pinned" in warning
