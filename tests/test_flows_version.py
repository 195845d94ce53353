"""The version that ``version_type: prefect:simple`` asks for, against Prefect's own."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.flows import imports_end_here, read, write
from tests.support.manifests import FLOW, one

TREE = {
    "simple.py": """
        from prefect import flow
        from work import imported, run
        @flow
        def plain(): ...
        class Jobs:
            @staticmethod
            @flow
            def method(): ...
        unnamed = flow(lambda: 1, name="n")
        made = flow(run)
        changed = imported.with_options(name="m")
        """,
    "work.py": "from prefect import flow\ndef run(): ...\n@flow\ndef imported(): ...\n",
}


@pytest.mark.real
@pytest.mark.parametrize("name", ["plain", "Jobs.method", "unnamed", "imported", "made", "changed"])
def test_digest_is_of_the_file_that_prefect_takes_it_of(name: str, tmp_path: Path) -> None:
    root = write(tmp_path, TREE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect._internal.versioning import VersionType
        from prefect.deployments.runner import RunnerDeployment
        from prefect.flows import load_flow_from_entrypoint

        with imports_end_here(root):
            flow = load_flow_from_entrypoint(f"simple.py:{name}", use_placeholder_flow=False)
            deployment = RunnerDeployment(
                name="d", flow_name=flow.name, version_type="prefect:simple"
            )
            deployment._set_defaults_from_flow(flow)
            expected = deployment._get_deployment_version_info(VersionType.SIMPLE)
    assert read(root, f"simple.py:{name}").file_digest == expected.version


def test_digest_of_a_flow_that_a_decorator_may_replace_is_not_known(tmp_path: Path) -> None:
    text = "from prefect import flow\nfrom library import wrap\n@flow\n@wrap\ndef f(): ...\n"
    assert read(write(tmp_path, {"f.py": text}), "f.py:f").file_digest is None


def test_version_type_simple_takes_the_digest_where_the_flow_has_no_version() -> None:
    flows = {"f.py:g": replace(FLOW, version=None, file_digest="d" * 32)}
    simple = one("version_type: prefect:simple", default_version="abc", flows=flows)
    assert (simple.version, simple.version_is_ours) == ("d" * 32, False)
    assert one("version_type: vcs:git", default_version="abc", flows=flows).version == "abc"
    assert one(default_version="abc", flows=flows).version == "abc"


def test_version_type_simple_takes_the_commit_where_nothing_else_is_known() -> None:
    flows = {"f.py:g": replace(FLOW, version=None)}
    assert one("version_type: prefect:simple", default_version="abc", flows=flows).version == "abc"
