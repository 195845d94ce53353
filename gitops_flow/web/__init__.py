"""The controller's HTTP edge: reads its state, and asks it for three things; decides nothing."""

from __future__ import annotations

from gitops_flow.web.server import Edge

__all__ = ["Edge"]
