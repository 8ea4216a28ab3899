"""Programs that nobody here wrote, against ours: test/peers/<name>.py, in the form of test/e2e (suites/e2e.py).

Fetches what it needs from the package registries at first use (scripts/deps --peers, Maven, npm, PyPI): make test leaves it out.
"""
import os
import subprocess

from harness.pg import ROOT
from suites import e2e


def run(only=None):
    subprocess.check_call([os.path.join(ROOT, "scripts/deps"), "--peers"])
    yield from e2e.modules("test/peers", only)
