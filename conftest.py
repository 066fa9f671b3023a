"""What all test suites of the workspace share."""

import os

# The processes of `pytest -n` share the cores among themselves; torch reads this when it is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Scripts that are run by hand; what they wrote is checked in.
collect_ignore_glob = ["*/goldens/make_*.py", "*/recipes/*.py"]
