"""Which deployments a name means, and the nearest word to a wrong one."""

from __future__ import annotations

import pytest

from gitops_flow import names

NIGHTLY = ("nightly", "etl/nightly")
WEEKLY = ("weekly", "etl/weekly")
STAR = ("night*", "etl/night*")
KNOWN = {"nightly": NIGHTLY, "weekly": WEEKLY, "star": STAR}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ("nightly", {"nightly"}),
        ("etl/weekly", {"weekly"}),
        ("*ly", {"nightly", "weekly"}),
        ("etl/*", {"nightly", "weekly", "star"}),
        ("[nw]*ly", {"nightly", "weekly"}),
        ("Nightly", set()),
        ("", set()),
    ],
)
def test_a_name_or_a_glob_means_the_deployments_it_matches(wanted: str, keys: set[str]) -> None:
    assert names.called(KNOWN, wanted) == keys


def test_a_deployment_whose_name_looks_like_a_glob_is_meant_alone_by_that_name() -> None:
    assert names.called(KNOWN, "night*") == {"star"}


def test_a_glob_without_a_slash_says_nothing_of_the_flow() -> None:
    assert names.called({"etl": ("nightly", "etl/nightly")}, "etl*") == set()


@pytest.mark.parametrize(
    ("wanted", "may"), [("x/nightly", True), ("*/ni*", True), ("nightly", False)]
)
def test_with_a_flow_in_front_a_name_may_mean_any_deployment_of_that_name(
    wanted: str, may: bool
) -> None:
    assert names.may_be_called("nightly", wanted) is may


def test_a_slip_of_the_finger_has_a_nearest_word() -> None:
    assert names.nearest("nigthly", [*NIGHTLY, *WEEKLY]) == "nightly"


def test_a_word_of_a_megabyte_is_compared_with_nothing() -> None:
    assert names.nearest("a" * 1_000_000, ["a" * 999_999]) is None


def test_a_hint_shows_no_password_of_a_known_address() -> None:
    address = "https://user:" + "hunter2hunter2" + "@host/x"
    hint = names.did_you_mean("https://user:hunter@host/x", [address])
    assert hint == "did you mean 'https://****@host/x'?"
