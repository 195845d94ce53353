"""The way of a deploy: check everything, snapshot, compare, publish, apply; in that order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gitops_flow import prefect
from gitops_flow.deploy.prepare import prepare
from gitops_flow.deploy.request import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.settings import Settings


def run(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Deploy.

    Args:
        request: what to deploy.
        settings: where Prefect, the cache and the code store are.
        environ: for ``{{ $NAME }}`` in the manifest.
        tell: is told what is being done, in a few words each time.

    Raises:
        GitflowError: something is wrong that was found before the first
            deployment was written. A write that fails is in the report instead.
    """
    connection = settings.require_prefect()
    prepared = prepare(request, settings)
    with prefect.Client(connection) as client, ThreadPoolExecutor(1) as side:
        # The server's listing is the slowest part of a deploy that changes nothing:
        # it is asked for before the modules that do the rest are even loaded.
        owned = side.submit(prefect.live, client, names=None, mark=prepared.source.mark)
        from gitops_flow import apply
        from gitops_flow.deploy import code, compare

        tell("taking the snapshot")
        found = code.read(prepared, environ)
        tell("comparing with the server")
        compared = compare.compare(prepared, found, client, owned.result, environ)
        compared.refuse()
        tell("publishing the snapshot")
        published = code.release(prepared, found, compared.desired)
        for pool in compared.missing_pools:
            prefect.create_work_pool(client, pool)
        tell("applying")
        results = apply.execute(client, compared.plan, fail_fast=request.fail_fast)
    return Report(
        source=prepared.source,
        snapshot=found.snapshot,
        published=published,
        results=tuple(results),
        warnings=compared.warnings,
        pools_created=compared.missing_pools,
    )
