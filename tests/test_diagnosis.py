"""What git says on stderr, as an error that says what to do."""

from __future__ import annotations

import pytest

from gitops_flow.git import diagnosis


@pytest.mark.parametrize(
    ("stderr", "kind", "said"),
    [
        (
            "fatal: dumb http transport does not support shallow capabilities",
            "unsupported",
            "dumb protocol",
        ),
        ("fatal: Authentication failed for 'http://h/x'", "auth", "does not accept"),
        ("fatal: unable to access 'http://h/x': Could not resolve host: h", "network", ""),
        ("remote: error: GH006: Protected branch update failed", "refused", "refuses to update"),
        ("remote: fatal: pack exceeds maximum allowed size", "too-large", "of this size"),
    ],
)
def test_a_message_of_git_has_a_kind_and_a_remedy(stderr: str, kind: str, said: str) -> None:
    error = diagnosis.explain(stderr, "http://h/x")
    assert error.kind == kind
    assert said in error.message
    assert error.hint


def test_what_git_repeats_of_a_password_is_not_shown() -> None:
    error = diagnosis.explain(
        "fatal: strange thing at http://u:hunter2@h/x", "http://u:hunter2@h/x"
    )
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "who", ["a GitHub App", "an OAuth App", "a Personal Access Token", "an integration"]
)
def test_a_refusal_of_workflow_files_names_the_cause_and_the_ways_out(who: str) -> None:
    said = f"(refusing to allow {who} to create or update workflow `.github/workflows/ci.yml`)"
    error = diagnosis.explain(f"! [remote rejected] x -> x {said}", "https://h/x")
    assert "workflow files" in error.message
    assert "without ‹ci_files›" in str(error.hint)
    assert "GITHUB_TOKEN" in str(error.hint)
