"""``make versions`` and ``make pythons``: the tests with other Prefects and other Pythons.

Each Prefect gets an environment of its own, in which its server, its worker and
the runs are, with gitops-flow beside it as users install it; the tests run in
``.venv`` as always. Each Python gets an environment for everything. What came of
it is written into docs/versions.md.
"""
