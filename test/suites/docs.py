"""What the pages say is true: the README's session works as pasted, links lead somewhere, every requirement has its row."""
import glob
import os
import re
import subprocess
import sys

from harness import doors
from harness.pg import ROOT, Cluster

PAGES = ["README.md", "CHANGELOG.md"] + sorted(os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "docs/*.md")))


def read(page):
    with open(os.path.join(ROOT, page)) as f:
        return f.read()


def session(page):
    """The statements of the block behind <!-- session -->, and what each must print: [(line of the page, expected)], text."""
    text = re.search(r"<!-- session -->\s*```sql\n(.*?)```", read(page), re.S).group(1)
    expected = [(line.split(";")[0].strip(), found.group(1)) for line in text.splitlines() if (found := re.search(r";\s+-- (\S.*)$", line))]
    return expected, text


def play(pg, page):
    """Pastes the session into psql. Every statement's answer is compared with the comment behind it."""
    expected, text = session(page)
    # Each promise becomes a marker in front of its statement; the answer is what stands between it and the next line.
    marked = re.sub(r"^(?=.*;[ \t]+-- \S.*$)", r"\\echo @@\n", text, flags=re.M)
    pg.create_database("readme")
    out = pg.psql("readme", "\\unset ON_ERROR_STOP\n\\pset format unaligned\n\\pset tuples_only on\n" + marked, check=False)
    answers = [part.strip("\n").split("\n") for part in out.split("@@\n")[1:]]
    bad = []
    for (statement, promise), answer in zip(expected, answers):
        if promise.startswith("ERROR "):
            ok = any(line.startswith("ERROR:") for line in answer) and any(promise.split()[1] in line for line in answer)
        else:
            ok = answer[0] == promise
        if not ok:
            bad.append(f"{statement}: promised {promise}, got {answer}")
    surprises = len(re.findall(r"^(?:psql:.*)?ERROR:", out, re.M)) - sum(p.startswith("ERROR ") for _, p in expected)
    if surprises:
        bad.append(f"{surprises} errors that were not promised")
    return len(expected) >= 5 and len(answers) == len(expected) and not bad, "\n".join(bad) + "\n" + out


SHOP = """
CREATE ROLE docs_gateway LOGIN IN ROLE backoffice_gateway;
SELECT access.create_organization('Acme') AS org \\gset
SELECT access.create_user('ann@acme.test', 'correct horse battery', :'org') AS ann \\gset
SELECT access.grant_role(:'ann', 'owner', NULL, :'org');
BEGIN;
SELECT access.act_as(:'org');
SELECT certificates.create_pool('XMAS-50', 'EUR', 5000), certificates.generate_codes('XMAS-50', 5);
COMMIT;
"""
# jq is not everywhere: what the page uses of it.
JQ = """jq() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1][1:]])' "$2"; }"""


def curl(pg, page):
    """The page's curl lines, at a gateway: each is answered 200, the one for somebody else's organization 403."""
    block = re.search(r"```sh\n(login=.*?)```", read(page), re.S).group(1)
    pg.create_database("curl")
    pg.psql("curl", SHOP)
    with doors.Gateway(pg.dsn("curl", "docs_gateway")) as gateway:
        script = [JQ]
        for line in block.replace("localhost:8080", gateway.url.removeprefix("http://")).splitlines():
            line = line.split("      #")[0]
            if line.startswith("curl "):
                line = f"answer=$({line} -w ' %{{http_code}}'); echo \"$answer\""
            if "/certificates/next" in line:
                line += "; id=$(echo \"${answer% *}\" | jq -r .id)"
            script.append(line)
        out = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], env={**os.environ, "PYTHON": sys.executable},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    statuses = [line.rsplit(" ", 1)[-1] for line in out.stdout.splitlines()]
    return out.returncode == 0 and statuses == ["200"] * (len(statuses) - 1) + ["403"] and len(statuses) >= 7, f"{statuses}\n{out.stdout}"


def links():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(page)):
            if not re.match(r"[a-z]+:", target) and not os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)):
                yield f"{page}: {target}"


def commands():
    """make targets that pages speak of."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.M))
    for page in PAGES:
        for target in re.findall(r"^(?:\$ )?make ([a-z][a-z-]*)|`make ([a-z][a-z-]*)", read(page), re.M):
            if not set(target) & targets:
                yield f"{page}: make {' '.join(target).strip()}"


def requirements():
    """A row for each; whatever file a row names must exist."""
    text = read("docs/requirements.md")
    for n in range(1, 9):
        if not re.search(rf"^\| C{n} \|", text, re.M):
            yield f"no row for C{n}"
    for name in ("P1", "P2", "P8", "M1", "M2", "M17", "I1", "I11", "I12"):
        if not re.search(rf"^\| ([A-Z0-9]+, )*{name}(,| \|)", text, re.M):
            yield f"no row for {name}"
    for path in re.findall(r"`((?:test|extension|workers|docs|sql|scripts)/[^`* ]+)`", text):
        if not os.path.exists(os.path.join(ROOT, path)):
            yield f"{path} does not exist"


def run(only=None):
    with Cluster() as pg:
        yield "readme-session", *play(pg, "README.md")
        yield "api-curl", *curl(pg, "docs/api.md")
    for name, problems in (("links", links()), ("commands", commands()), ("requirements", requirements())):
        found = list(problems)
        yield name, not found, "\n".join(found)
