"""Working tree to snapshot, snapshot to ledger, ledger to a branch of a git remote."""
