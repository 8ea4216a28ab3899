"""The SQL suites once more, against a backoffice.so built with AddressSanitizer and UndefinedBehaviorSanitizer.

    test/run.py sanitize             regress and tap
    test/run.py sanitize:tap         one of them
    test/run.py sanitize:tap:core    one file of it

PostgreSQL itself is Debian's, without sanitizers: the runtime is preloaded into the server. Memory that PostgreSQL's
memory contexts hand out is checked by its block only; what a server with assertions would add, docs/benchmarks.md
tells how to run. A case fails when it fails, and the last one when any process of the server wrote a report.
"""
import glob
import importlib
import os
import shutil
import subprocess
import tempfile

import harness.pg
from harness.pg import ROOT, Cluster

# Alignment is left out: PostgreSQL's own macros, expanded in our code, read packed tuples in place.
FLAGS = "-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=alignment"
SUITES = ["regress", "tap"]


def build():
    """A copy of extension/ built with the sanitizers, installed into a private tree of its own. Returns the tree."""
    tree = harness.pg.pg_tree() + "-sanitize"
    subprocess.check_call([os.path.join(ROOT, "scripts/pgtree")], env=dict(os.environ, BACKOFFICE_PG_TREE=tree))
    copy = os.path.join(ROOT, "build/sanitize")
    os.makedirs(copy, exist_ok=True)
    source = os.path.join(ROOT, "extension")
    wanted = set()
    for folder, _, files in os.walk(source):
        for name in files:
            if name.endswith((".o", ".so", ".bc")) or name.startswith("backoffice--"):
                continue
            path = os.path.relpath(os.path.join(folder, name), source)
            wanted.add(path)
            target = os.path.join(copy, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target) or open(target, "rb").read() != open(os.path.join(source, path), "rb").read():
                shutil.copyfile(os.path.join(source, path), target)
    for folder, _, files in os.walk(copy):
        for name in files:
            path = os.path.relpath(os.path.join(folder, name), copy)
            if path not in wanted and name.endswith((".c", ".h", ".sql")) and not name.startswith("backoffice--"):
                os.remove(os.path.join(copy, path))
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    make = ["make", "-s", "-j2", "-C", copy, "SANITIZE=" + FLAGS]
    for argv in (make, make + ["install", "DESTDIR=" + tree]):
        out = subprocess.run(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if out.returncode:
            raise RuntimeError("the sanitized extension does not build:\n" + out.stdout[-4000:])
    return tree


def runtime(tree):
    """What LD_PRELOAD has to name."""
    first = os.path.join(tree, "sanitize_first.so")
    subprocess.check_call(["gcc", "-shared", "-fPIC", "-O0", "-Wl,-z,initfirst", "-o", first,
                           os.path.join(ROOT, "test/suites/sanitize_first.c")])
    asan = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    return os.path.realpath(asan) + " " + first


class SanitizedCluster(Cluster):
    """A cluster whose server, and the tools that start it, carry the sanitizers' runtime."""

    tree = None
    preload = None
    reports = None

    def __init__(self, *args, **kw):
        kw.setdefault("tree", SanitizedCluster.tree)
        super().__init__(*args, **kw)

    def as_user(self, argv):
        log = os.path.join(SanitizedCluster.reports, "report")
        return super().as_user([
            "env", "LD_PRELOAD=" + SanitizedCluster.preload,
            f"ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99:handle_abort=0:log_path={log}",
            f"UBSAN_OPTIONS=print_stacktrace=1:log_path={log}"] + argv)


def run(only=None):
    suite, _, case = (only or "").partition(":")
    SanitizedCluster.tree = build()
    SanitizedCluster.preload = runtime(SanitizedCluster.tree)
    SanitizedCluster.reports = tempfile.mkdtemp(prefix="backoffice-sanitize-", dir="/tmp")
    os.chmod(SanitizedCluster.reports, 0o777)
    reported = 0
    try:
        for name in [suite] if suite else SUITES:
            module = importlib.import_module("suites." + name)
            plain, module.Cluster = module.Cluster, SanitizedCluster
            try:
                for case_name, ok, output in module.run(case or None):
                    found = reports()[reported:]
                    reported += len(found)
                    yield f"{name}/{case_name}", ok and not found, "\n".join(found)[:20000] + ("" if ok else "\n" + output)
            finally:
                module.Cluster = plain
        left = reports()[reported:]
        yield "no reports at shutdown", not left, "\n".join(left)[:20000]
    finally:
        shutil.rmtree(SanitizedCluster.reports, ignore_errors=True)


def reports():
    return [open(path, errors="replace").read()
            for path in sorted(glob.glob(os.path.join(SanitizedCluster.reports, "report*")), key=os.path.getmtime)]
