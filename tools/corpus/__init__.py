"""``make corpus``: ``prefect deploy --all`` against ``gitflow deploy --all``, file by file.

For each manifest of a folder it makes a world in which both could deploy it
(flows, step packages, a repository, work pools, variables, blocks), deploys it
with one and then the other, and compares what the server has afterwards.
Nothing of a manifest reaches the network: scripts find only stand-ins for the
programs they call, and addresses of repositories lead to a local one.
"""
