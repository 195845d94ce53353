"""``python -m gitops_flow`` is the ``gitflow`` command."""

from gitops_flow.cli import main

if __name__ == "__main__":
    main()
