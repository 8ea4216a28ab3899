"""End to end, with real processes: test/e2e/<name>.py.

A module has environment(), a context manager, and functions test_*(env), run in the order of the file. A test
fails by raising; what env.report() returns is shown then.
"""
import glob
import importlib.util
import os
import sys
import traceback

from harness.pg import ROOT


def run(only=None):
    yield from modules("test/e2e", only)


def modules(folder, only=None):
    """The cases of a folder: other suites of this form use it too."""
    sys.path.insert(0, os.path.join(ROOT, folder))
    for path in sorted(glob.glob(os.path.join(ROOT, folder, "*.py"))):
        name = os.path.basename(path)[:-3]
        if name.startswith("_") or (only and name != only):
            continue
        spec = importlib.util.spec_from_file_location(os.path.basename(folder) + "_" + name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        tests = [(k, f) for k, f in vars(module).items() if k.startswith("test_") and callable(f)]
        try:
            with module.environment() as env:
                for test, function in tests:
                    try:
                        function(env)
                        yield f"{name}.{test[5:]}", True, ""
                    except Exception:
                        yield f"{name}.{test[5:]}", False, traceback.format_exc() + report(env)
        except Exception:
            yield f"{name}.environment", False, traceback.format_exc()


def report(env):
    try:
        return env.report()
    except Exception:
        return traceback.format_exc()
