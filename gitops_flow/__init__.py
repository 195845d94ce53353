"""Git-native GitOps deployment controller for Prefect 3.

Importing this package loads nothing else: the command line, the worker's pull
step and the library each import only what they use.
"""

__version__ = "0.1.0"
