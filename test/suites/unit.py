"""Unit tests of the thin workers (workers/test), plain and under ASan and UBSan; cppcheck."""
import glob
import os
import re
import subprocess

from harness.pg import ROOT

WORKERS = os.path.join(ROOT, "workers")
SANITIZE = "address,undefined"


def run(only=None):
    for label, flags, folder in (("plain", [], "workers"), ("sanitized", ["SANITIZE=" + SANITIZE], "workers-san")):
        out = call(["make", "-s", "-j2", "-C", WORKERS, "unit"] + flags)
        if out.returncode:
            yield f"{label}.build", False, out.stdout
            continue
        for source in sorted(glob.glob(os.path.join(WORKERS, "test/test_*.c"))):
            name = os.path.basename(source)[:-2]
            if only and only != name:
                continue
            out = call([os.path.join(ROOT, "build", folder, name)])
            passed = re.findall(r"\[       OK \] (\w+)", out.stdout)
            failed = re.findall(r"\[  FAILED  \] (\w+)$", out.stdout, re.M)
            for case in passed:
                yield f"{label}.{name}.{case}", True, ""
            if failed or out.returncode or not passed:
                yield f"{label}.{name}", False, out.stdout
    if only in (None, "cppcheck"):
        out = call(["cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", "--enable=warning,performance,portability",
                    "--inline-suppr", "--suppress=missingIncludeSystem", "-I", WORKERS, WORKERS])
        yield "cppcheck", out.returncode == 0, out.stdout


def call(argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"})
