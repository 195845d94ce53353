"""What a run gets around its checkout: which commit, which labels, whose signature, which limits."""
