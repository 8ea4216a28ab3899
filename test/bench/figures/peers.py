"""The servers of test/peers/go and test/peers/node: built or fetched at first use, each an HTTP server on a free port."""
import os
import shutil
import subprocess

from frame import Missing, say

from harness.pg import ROOT

BUILD = os.path.join(ROOT, "build/peers")


def _run(argv, folder, **env):
    try:
        out = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=600, env={**os.environ, **env})
    except subprocess.TimeoutExpired as e:
        raise Missing(f"{' '.join(argv)}: not within {e.timeout} s") from None
    if out.returncode:
        raise Missing(f"{' '.join(argv)}:\n{out.stdout[-2000:]}")


def _serve(bench, argv, folder):
    process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def end():
        process.kill()
        process.wait()
    bench.cleanups.append(end)
    line = process.stdout.readline()
    if not line:
        raise Missing(f"{' '.join(argv)} did not start")
    return process, int(line)


def go(bench, dsn, pool):
    """(process, port) of net/http with pgx."""
    if shutil.which("go") is None:
        raise Missing("there is no go on this machine")
    program = os.path.join(BUILD, "go/server")
    say("   building test/peers/go")
    os.makedirs(os.path.dirname(program), exist_ok=True)
    _run(["go", "build", "-o", program, "."], os.path.join(ROOT, "test/peers/go"), GOTOOLCHAIN="local")
    return _serve(bench, [program, dsn, str(pool)], BUILD)


def node(bench, dsn, pool):
    """(process, port) of node:http with pg."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("there is no node, or no npm, on this machine")
    source, folder = os.path.join(ROOT, "test/peers/node"), os.path.join(BUILD, "node")
    os.makedirs(folder, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc", "server.mjs"):
        shutil.copy(os.path.join(source, name), folder)
    if not os.path.isdir(os.path.join(folder, "node_modules/pg")):
        say("   fetching the modules of test/peers/node")
        _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
    return _serve(bench, ["node", "server.mjs", dsn, str(pool)], folder)
