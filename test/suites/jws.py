"""Tokens apart from the server (extension/access/jws*.c): published vectors under ASan and UBSan, and libFuzzer where clang is there.

WYCHEPROOF_JWS names Wycheproof's json_web_signature_test.json, to be run too; JWS_FUZZ_SECONDS how long to fuzz (10).
"""
import glob
import os
import re
import shutil
import subprocess

from harness.pg import ROOT

SOURCES = sorted(glob.glob(os.path.join(ROOT, "extension/access/jws*.c")))
OUT = os.path.join(ROOT, "build/jws")
FLAGS = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-I", os.path.join(ROOT, "extension"),
         "-I", os.path.join(ROOT, "test/jws"), "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
LIBS = ["-lcrypto", "-lsodium", "-ljansson"]


def call(argv, **more):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600, env={**os.environ, **more})


def run(only=None):
    os.makedirs(OUT, exist_ok=True)
    if only in (None, "vectors"):
        program = os.path.join(OUT, "test_jws")
        out = call(["gcc", *FLAGS, "-fsanitize=address,undefined", "-o", program, os.path.join(ROOT, "test/jws/test_jws.c"), *SOURCES, *LIBS, "-lcmocka"])
        if out.returncode:
            yield "build", False, out.stdout
        else:
            out = call([program])
            for case in re.findall(r"\[       OK \] (\w+)", out.stdout):
                yield case, True, ""
            if out.returncode or "[  FAILED  ]" in out.stdout:
                yield "vectors", False, out.stdout
    if only in (None, "fuzz"):
        clang = shutil.which("clang") or shutil.which("clang-14")
        if clang:
            yield from fuzz(clang, int(os.environ.get("JWS_FUZZ_SECONDS", "10")))


def seeds(folder):
    os.makedirs(folder, exist_ok=True)
    text = open(os.path.join(ROOT, "test/jws/vectors.h"), encoding="ascii").read().replace('" \\\n\t"', "")
    joe = re.search(r'JOE "([^"]+)"', text).group(1)
    for name, head, tail in re.findall(r'#define (\w+)_TOKEN "([^"]+)" JOE "([^"]+)"', text):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write("\0" + head + joe + tail)
    for i, body in enumerate(['{"a":[1,-2.5e3,null,true],"b":{"\\u0063":"\\ud83d\\ude00é"}}', '[[[[]]]]', '{"a":1,"b":2}', '"\\n"']):
        with open(os.path.join(folder, f"json{i}"), "w", encoding="utf-8") as f:
            f.write("\1" + body)


def fuzz(clang, seconds):
    program, corpus = os.path.join(OUT, "fuzz_jws"), os.path.join(OUT, "corpus")
    out = call([clang, *FLAGS, "-fsanitize=fuzzer,address,undefined", "-o", program, os.path.join(ROOT, "test/jws/fuzz_jws.c"), *SOURCES, *LIBS])
    if out.returncode:
        yield "fuzz", False, out.stdout
        return
    seeds(corpus)
    out = call([program, f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1", f"-artifact_prefix={OUT}/", corpus])
    runs = re.search(r"stat::number_of_executed_units: +(\d+)", out.stdout)
    yield f"fuzz ({runs.group(1) if runs else 'no'} inputs in {seconds} s)", out.returncode == 0 and bool(runs), out.stdout[-5000:]
