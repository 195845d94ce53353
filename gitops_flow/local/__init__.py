"""A real Prefect server and worker as child processes, for the demo and the tests.

Both listen on loopback only, keep everything in a directory they are given,
ignore the caller's Prefect settings, and end when the caller ends, however that
happens (:mod:`gitops_flow.local.guard`).
"""

from __future__ import annotations

from gitops_flow.local.api import call
from gitops_flow.local.processes import Child
from gitops_flow.local.server import Server, start_server
from gitops_flow.local.worker import Worker, start_worker

__all__ = ["Child", "Server", "Worker", "call", "start_server", "start_worker"]
