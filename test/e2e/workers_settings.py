"""Settings of the thin workers: --help, --check, wrong values."""
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time

from harness.pg import ROOT
from harness.workers import BUILD


@contextlib.contextmanager
def environment():
    yield None


def call(program, *flags, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BACKOFFICE_", "KAFKA_"))}
    out = subprocess.run([os.path.join(BUILD, program), *flags], env={**clean, **env}, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=10)
    return out.returncode, out.stdout


def both(function):
    for program in ("kafka-relay", "kafka-ingest"):
        function(program)


def test_oidc_settings(_):
    good = {"BACKOFFICE_DATABASE": "host=db password=hunter2"}
    assert call("oidc", "--check", **good) == (0, "settings are good\n")
    assert call("oidc", "--check", "--allow-networks=10.0.0.0/8,fd00::/8", "--allow-http-loopback", **good)[0] == 0
    assert call("oidc", "--check")[0] == 2
    for flags in (["--allow-networks=10.0.0.0"], ["--ca-file=/nonexistent"], ["--min-age-s=100", "--max-age-s=99"], ["--poll-ms=0"],
                  ["--retry-ms=5000", "--retry-max-ms=4000"], ["--kafka-bootstrap=a:1"], ["--log-level=loud"]):
        code, text = call("oidc", "--check", *flags, **good)
        assert code == 2 and text and "hunter2" not in text, (flags, text)
    code, text = call("oidc", "--help")
    assert code == 0 and "BACKOFFICE_ALLOW_NETWORKS" in text and "  oidc --database 'service=backoffice' --check" in text


def test_help_shows_each_setting_and_working_examples(_):
    def one(program):
        code, text = call(program, "--help")
        assert code == 0 and "BACKOFFICE_DATABASE" in text and "KAFKA_BOOTSTRAP" in text
        example = next(line for line in text.splitlines() if line.startswith("  " + program) and line.endswith("--check"))
        shell = subprocess.run(example.strip().replace(program, shlex.quote(os.path.join(BUILD, program)), 1), shell=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert shell.returncode == 0, shell.stdout
    both(one)


def test_check(_):
    def one(program):
        good = {"BACKOFFICE_DATABASE": "host=db password=hunter2", "KAFKA_BOOTSTRAP": "a:9092,[::1]:9093"}
        assert call(program, "--check", **good) == (0, "settings are good\n")
        assert call(program, "--check")[0] == 2
        assert call(program, "--check", "--topics= Test.In,\tTest.Out ", "--kafka-bootstrap=a:1, b:2", **good) == (0, "settings are good\n")
        assert "an item of the list is empty" in call(program, "--check", "--topics=a,,b", **good)[1]
        for flags in (["--kafka-bootstrap=a:0"], ["--kafka-bootstrap", ""], ["--port=99999"], ["--port", "x"], ["--nonsense"],
                      ["--log-level=loud"], ["--kafka-config=/nonexistent"], ["--heartbeat-ms="]):
            code, text = call(program, "--check", *flags, **good)
            assert code == 2 and text, flags
        code, text = call(program, "--check", "--database=password=hunter2 nonsense=1", KAFKA_BOOTSTRAP="a")
        assert code == 2 and "hunter2" not in text, text
    both(one)


def test_gateway_settings(_):
    code, text = call("gateway", "--help")
    assert code == 0 and "BACKOFFICE_ALLOW_ORIGINS" in text
    example = next(line for line in text.splitlines() if line.startswith("  gateway") and line.endswith("--check"))
    shell = subprocess.run(example.strip().replace("gateway", os.path.join(BUILD, "gateway"), 1), shell=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert shell.returncode == 0, shell.stdout
    good = {"BACKOFFICE_DATABASE": "host=db password=hunter2"}
    with tempfile.NamedTemporaryFile("w", dir="/tmp", suffix=".conf") as places:
        places.write("# nothing\n01a21613-b92d-7a60-9d48-f81e0fee7627 host=other password=hunter3\n")
        places.flush()
        assert call("gateway", "--check", "--databases-file=" + places.name, "--allow-origins=https://a.example,http://localhost:3000",
                    "--limits=auth:address=1/2", "--trusted-proxies=10.0.0.1,::1", **good) == (0, "settings are good\n")
        places.write("nonsense host=other password=hunter4\n")
        places.flush()
        code, text = call("gateway", "--check", "--databases-file=" + places.name, **good)
        assert code == 2 and "line 3" in text and "hunter" not in text, text
    for flags in (["--address=localhost"], ["--port=65536"], ["--processes=0"], ["--allow-origins=shop.example"], ["--allow-origins=https://a/b"],
                  ["--public-url=shop.example"], ["--public-url=https://shop.example/"], ["--limits=nonsense"], ["--limits=auth:address=0/1"], ["--trusted-proxies=nobody"], ["--tls-key=/nonexistent"],
                  ["--tls-key=/nonexistent", "--tls-certificate=/nonexistent"], ["--databases-file=/nonexistent"], ["--log-level=loud"]):
        code, text = call("gateway", "--check", *flags, **good)
        assert code == 2 and text, flags


def test_flags_win(_):
    code, text = call("kafka-relay", "--check", "--lease-ms=5000", BACKOFFICE_LEASE_MS="nonsense",
                      BACKOFFICE_DATABASE="dbname=x", KAFKA_BOOTSTRAP="a")
    assert code == 0, text
    assert call("kafka-relay", "--check", BACKOFFICE_LEASE_MS="nonsense", BACKOFFICE_DATABASE="dbname=x", KAFKA_BOOTSTRAP="a")[0] == 2


def test_service_manager(_):
    """sd_notify: ready, turning, stopping; a loop that stands still sends nothing."""
    for program in ("kafka-relay", "kafka-ingest", "oidc", "gateway"):
        with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(os.path.join(folder, "notify"))
            manager.settimeout(5)
            process = subprocess.Popen([os.path.join(BUILD, program)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={
                "BACKOFFICE_DATABASE": "host=/nonexistent", "KAFKA_BOOTSTRAP": "127.0.0.1:1", "BACKOFFICE_PORT": "0",
                "NOTIFY_SOCKET": os.path.join(folder, "notify"), "WATCHDOG_USEC": "400000"})
            try:
                heard = [manager.recv(100).decode() for _ in range(4)]
                assert sorted(set(heard)) == ["READY=1", "WATCHDOG=1"] and heard.count("READY=1") == 1, (program, heard)
                process.send_signal(signal.SIGSTOP)
                manager.settimeout(1.5)
                try:
                    while manager.recv(100):
                        pass
                except TimeoutError:
                    pass
                process.send_signal(signal.SIGCONT)
                process.terminate()
                manager.settimeout(5)
                while manager.recv(100) != b"STOPPING=1":
                    pass
                assert process.wait(20) == 0
            finally:
                process.kill()
                process.wait()


def test_launcher(_):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        def launch(*args):
            names = ["kafka-relay", "kafka-ingest", "oidc", "gateway"] if args[0] != "nonsense" else []
            out = subprocess.run([os.path.join(ROOT, "scripts/workers"), args[0], "--dir", folder, *names, *args[1:]], text=True,
                                 env={**os.environ, "BACKOFFICE_DATABASE": "host=/nonexistent", "KAFKA_BOOTSTRAP": "127.0.0.1:1"},
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            return out.returncode, out.stdout
        try:
            assert launch("start", "--", "--port=x")[0] == 1
            code, text = launch("start")
            assert code == 0 and text.count("started") == 4, text
            assert launch("start")[1].count("runs already") == 4
            time.sleep(0.5)
            code, text = launch("status")
            # Neither the database nor Kafka is there: they run, and say that they are not well.
            assert code == 0 and text.count('"status":"unavailable"') == 4, text
        finally:
            code, text = launch("stop")
        assert code == 0 and text.count("stopped") == 4, text
        assert launch("status")[0] == 3
        assert launch("nonsense")[0] == 2
