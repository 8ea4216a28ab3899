"""Both Kafka workers by TLS, with passwords and with certificates, and what they do when the broker's don't fit."""
import contextlib
import json
import os
import subprocess

from harness.kafka import produce
from harness.kafka_tls import SecureKafka
from harness.shop import IN, Shop, check_stream, everything_there, follow, until
from harness.workers import BUILD

PASSWORD = "correct-horse-7"
WRONG = "wrong-horse-8"


class At:
    """A listener, for Shop.relay() and Shop.ingest()."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap


@contextlib.contextmanager
def environment():
    with SecureKafka({"worker": PASSWORD}, topics={IN: 4}) as kafka, Shop() as shop:
        shop.kafka = kafka
        shop.sent = 0
        # In a cluster all listeners tell of each other, so one worker by each kind is enough.
        shop.by_certificate = shop.relay(At(kafka.tls), kafka_config=kafka.tls_file(debug="all"), log_level="debug", heartbeat_ms=500).start()
        shop.by_password = shop.ingest(At(kafka.sasl), kafka_config=kafka.sasl_file("worker", PASSWORD, debug="all"), log_level="debug",
                                       session_timeout_ms=6000, heartbeat_ms=500).start()
        shop.follower = follow(kafka)
        yield shop
        shop.follower.stop()


def flows(shop):
    """Events come out and messages come in."""
    shop.emit(500)
    produce(shop.kafka.bootstrap, IN, [("k", json.dumps({"n": n})) for n in range(shop.sent, shop.sent + 200)])
    shop.sent += 200
    log, parked = everything_there(shop.follower, shop)
    check_stream(list(shop.follower.messages), log, once=False, missing=parked)
    until(lambda: shop.query("SELECT count(*) FROM events.read(NULL, 1000000, ARRAY[%s])", (IN,))[0][0] == shop.sent, 30, "messages")


def test_certificate_and_password(shop):
    flows(shop)
    for worker in (shop.by_certificate, shop.by_password):
        until(lambda: worker.get("/health")[0] == 200, 15, "health")


def test_no_password_is_shown(shop):
    """In no log, not even with all of librdkafka's debugging, and on no command line."""
    for worker in (shop.by_certificate, shop.by_password):
        with open(f"/proc/{worker.process.pid}/cmdline", "rb") as f:
            shown = f.read().decode() + worker.text()
        assert "sasl.mechanism" in shown or worker is shop.by_certificate
        assert PASSWORD not in shown and "PRIVATE KEY" not in shown
        worker.stop()
        worker.settings.update(log_level="info")
    shop.by_certificate.settings["kafka_config"] = shop.kafka.tls_file()
    shop.by_password.settings["kafka_config"] = shop.kafka.sasl_file("worker", PASSWORD)
    for worker in (shop.by_certificate, shop.by_password):
        worker.start()


def test_broker_with_another_password_and_certificate(shop):
    """One clear line each, running and unwell; when the broker is mended they go on by themselves, and nothing is lost."""
    good = shop.kafka.keystore
    shop.kafka.users["worker"] = "changed-at-the-broker"
    shop.kafka.reconfigure()
    assert shop.by_password.wait_log('"level":"warn".*(?i:authentication).*"code":"_AUTHENTICATION"'), shop.by_password.text()[-3000:]
    until(lambda: shop.by_password.get("/health")[0] == 503, 15, "being unwell")
    shop.kafka.users["worker"] = PASSWORD
    shop.kafka.keystore = shop.kafka.other_authority.issue("broker")
    shop.kafka.reconfigure()
    for worker in (shop.by_certificate, shop.by_password):
        assert worker.wait_log('"level":"warn".*certificate verify failed'), worker.text()[-3000:]
    until(lambda: shop.by_certificate.get("/health")[0] == 503, 15, "being unwell")
    until(lambda: "certificate verify failed" in str(shop.query("SELECT last_error FROM backoffice.workers WHERE worker = 'kafka-relay'")), 10, "last_error")
    shop.emit(100)
    shop.kafka.keystore = good
    shop.kafka.reconfigure()
    flows(shop)
    for worker in (shop.by_certificate, shop.by_password):
        assert worker.alive() and worker.wait_log('"msg":"Kafka is reachable"')
        warnings = [line for line in worker.lines() if line["msg"] == "trouble with Kafka"]
        assert 1 <= len(warnings) <= 12, f"{len(warnings)} warnings in some seconds: {warnings}"
        until(lambda: worker.get("/health")[0] == 200, 15, "health")


def test_wrong_password_here(shop):
    """A worker with a wrong password, a second one with a right one: the wrong one tells why and takes nothing from the other."""
    wrong = shop.ingest(At(shop.kafka.sasl), kafka_config=shop.kafka.sasl_file("worker", WRONG), session_timeout_ms=6000).start()
    line = wrong.wait_log('"code":"_AUTHENTICATION"')
    assert line and json.loads(line)["level"] == "warn"
    flows(shop)
    assert wrong.alive() and wrong.get("/health")[0] == 503 and WRONG not in wrong.text()
    assert wrong.stop() == 0


def test_wrong_name_in_the_certificate(shop):
    wrong = shop.ingest(At(shop.kafka.sasl.replace("127.0.0.1", "localhost")), kafka_config=shop.kafka.sasl_file("worker", PASSWORD)).start()
    assert wrong.wait_log('"level":"warn".*certificate verify failed')
    assert wrong.stop() == 0


def test_scram(shop):
    """Works where librdkafka has it right, and is warned of where Kafka refuses it."""
    worker = shop.ingest(At(shop.kafka.sasl), group="scram", kafka_config=shop.kafka.sasl_file("worker", PASSWORD, "SCRAM-SHA-512")).start()
    if worker.wait_log('"level":"warn".*refuse SCRAM of this librdkafka', 1):
        assert worker.wait_log('"code":"_AUTHENTICATION"')
    else:
        until(lambda: worker.metric("backoffice_ingest_partitions") > 0, 20, "partitions")
    assert worker.stop() == 0


def check(program, path):
    out = subprocess.run([os.path.join(BUILD, program), "--check", "--database=dbname=x", "--kafka-bootstrap=127.0.0.1:1", "--kafka-config=" + path],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    assert PASSWORD not in out.stdout, out.stdout
    return out.returncode, out.stdout


def test_check_looks_at_the_whole(shop):
    kafka = shop.kafka
    for program in ("kafka-relay", "kafka-ingest"):
        for path in (kafka.tls_file(), kafka.sasl_file("worker", PASSWORD)):
            assert check(program, path) == (0, "settings are good\n"), path
        for wrong in ({"ssl.ca.location": "/nonexistent"}, {"ssl.key.location": "/nonexistent"}, {"ssl.key.location": kafka.authority.certificate},
                      {"no.such.property": "1"}, {"security.protocol": "TLS"}, {"ssl.ca.location": "x" * 5000}):
            code, text = check(program, kafka.tls_file(**wrong))
            assert code == 2 and text.startswith("KAFKA_CONFIG: "), (wrong, text)
        code, text = check(program, kafka.sasl_file("worker", PASSWORD, "NONSENSE"))
        assert code == 2 and text, text
        for unsafe, said in (({"security.protocol": "SASL_PLAINTEXT"}, "password for Kafka is sent as it is"),
                             ({"enable.ssl.certificate.verification": "false"}, "certificates are not verified")):
            code, text = check(program, kafka.sasl_file("worker", PASSWORD, **unsafe))
            assert code == 0 and said in text, text
        path = kafka.sasl_file("worker", PASSWORD)
        os.chmod(path, 0o644)
        assert "everybody on this host can read" in check(program, path)[1]


def test_stop(shop):
    assert shop.by_certificate.stop() == 0 and shop.by_password.stop() == 0
    assert all(secret not in worker.text() for worker in (shop.by_certificate, shop.by_password) for secret in (PASSWORD, "hunter2"))
