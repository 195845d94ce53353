"""Everything that touches git: the program (`command`, `remote`), objects (`objects`), addresses (`url`)."""
