"""Kafka for tests and the demo: librdkafka's mock broker, or Apache Kafka itself.

    with MockBroker(brokers=3, topics={"All_SalesOrder": 4}) as kafka:     # no Java
        kafka.rtt("all", 20); kafka.down(1); kafka.push_error("produce", "NOT_LEADER_FOR_PARTITION", 3)
    with RealKafka() as kafka:                                             # KRaft, one node, Apache Kafka 4.1
        kafka.create_topic("GiftCertificates.Stream", 4); kafka.kill9(); kafka.start()
    with any_kafka(real=True) as kafka:                                    # the broker of KAFKA_BOOTSTRAP when it is set

Each has .bootstrap, .create_topic(name, partitions). produce(), consume(), topic_config() work with any broker.
"""
import collections
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from harness import leftovers, locks
from harness.pg import ROOT, free_port

KAFKA_VERSION = "4.1.0"
MOCK_BROKER = os.path.join(ROOT, "build/workers/mock-broker")

# Broker error codes by the names that tests use.
ERRORS = {
    "UNKNOWN_SERVER_ERROR": -1, "OFFSET_OUT_OF_RANGE": 1, "UNKNOWN_TOPIC_OR_PARTITION": 3, "LEADER_NOT_AVAILABLE": 5,
    "NOT_LEADER_FOR_PARTITION": 6, "REQUEST_TIMED_OUT": 7, "MSG_SIZE_TOO_LARGE": 10, "COORDINATOR_LOAD_IN_PROGRESS": 14,
    "NOT_COORDINATOR": 16, "INVALID_TOPIC": 17, "RECORD_LIST_TOO_LARGE": 18, "NOT_ENOUGH_REPLICAS": 19,
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": 20, "REBALANCE_IN_PROGRESS": 27, "TOPIC_AUTHORIZATION_FAILED": 29,
    "POLICY_VIOLATION": 44, "OUT_OF_ORDER_SEQUENCE_NUMBER": 45, "DUPLICATE_SEQUENCE_NUMBER": 46,
    "UNKNOWN_PRODUCER_ID": 59, "INVALID_RECORD": 87,
}

Message = collections.namedtuple("Message", "topic partition offset timestamp_ms key value headers")


def any_kafka(real=False, topics=None, **options):
    """The broker of KAFKA_BOOTSTRAP when set; else Apache Kafka (real) or the mock."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return GivenKafka(os.environ["KAFKA_BOOTSTRAP"], topics)
    return RealKafka(topics=topics, **options) if real else MockBroker(topics=topics, **options)


class GivenKafka:
    """Somebody's broker: used, never stopped."""

    def __init__(self, bootstrap, topics=None):
        self.bootstrap = bootstrap
        self.topics = topics or {}

    def __enter__(self):
        for name, partitions in self.topics.items():
            self.create_topic(name, partitions)
        return self

    def __exit__(self, *exc):
        pass

    def create_topic(self, name, partitions=4, config=None):
        create_topic(self.bootstrap, name, partitions, config)


class MockBroker:
    """librdkafka's mock cluster in a process of its own, over TCP, with faults on demand."""

    def __init__(self, brokers=1, topics=None):
        self.brokers = brokers
        self.topics = topics or {}
        self.process = None
        self.bootstrap = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.destroy()

    def start(self):
        self.process = subprocess.Popen(
            [MOCK_BROKER, "--brokers", str(self.brokers)] + [f"{name}:{n}" for name, n in self.topics.items()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.bootstrap = self.process.stdout.readline().strip()
        if not self.bootstrap:
            raise RuntimeError("the mock broker did not start")

    def destroy(self):
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None

    def command(self, *words):
        """One line of the mock's language; see workers/tools/mock-broker.c."""
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        answer = self.process.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"mock broker: {' '.join(map(str, words))}: {answer}")

    def create_topic(self, name, partitions=4, config=None):
        self.command("topic", name, partitions)

    def push_error(self, request, error, count=1):
        """The next count requests of this kind ("produce", "fetch", …) fail with this error."""
        self.command("error", request, ERRORS.get(error, error), count)

    def clear_errors(self, request):
        self.command("clear", request)

    def topic_error(self, name, error):
        self.command("topic-error", name, ERRORS.get(error, error))

    def rtt(self, broker, ms):
        self.command("rtt", broker, ms)

    def down(self, broker="all"):
        self.command("down", broker)

    def up(self, broker="all"):
        self.command("up", broker)

    def leader(self, topic, partition, broker):
        self.command("leader", topic, partition, broker)


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>backoffice</groupId><artifactId>test-broker</artifactId><version>1</version>
<packaging>pom</packaging>
<dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%s</version>
</dependency></dependencies></project>
"""

LOG4J = """<Configuration status="warn"><Appenders><Console name="c"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="c"/></Root></Loggers></Configuration>
"""


def kafka_jars():
    """The folder of Kafka's jars, fetched through Maven at first use."""
    with locks.alone("maven"):
        return _kafka_jars()


def _kafka_jars():
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                         "backoffice", "kafka-" + KAFKA_VERSION)
    if os.path.isdir(cache) and any(f.startswith("kafka_2.13-") for f in os.listdir(cache)):
        return cache
    if not (shutil.which("java") and shutil.which("mvn")):
        subprocess.check_call([os.path.join(ROOT, "scripts/deps"), "--kafka"])
    print(f"fetching Apache Kafka {KAFKA_VERSION} into {cache} …", file=sys.stderr, flush=True)
    os.makedirs(os.path.dirname(cache), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(cache)) as work:
        with open(os.path.join(work, "pom.xml"), "w") as f:
            f.write(POM % KAFKA_VERSION)
        out = subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime",
                              "-DoutputDirectory=" + os.path.join(work, "jars")],
                             cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        if out.returncode:
            raise RuntimeError("Maven could not fetch Kafka:\n" + out.stdout)
        if not os.path.isdir(cache):
            os.rename(os.path.join(work, "jars"), cache)
    return cache


class RealKafka:
    """Apache Kafka, one KRaft node on loopback, in a throw-away folder."""

    def __init__(self, topics=None, conf=None, heap_mb=512, keep=False):
        self.topics = topics or {}
        self.conf = conf or {}
        self.heap_mb = heap_mb
        self.keep = keep
        self.process = None
        self.jars = kafka_jars()
        self.dir = tempfile.mkdtemp(prefix="backoffice-kafka-", dir="/tmp")
        if not self.keep:
            leftovers.claim(self.dir)
        self.log = os.path.join(self.dir, "server.log")
        self.properties = os.path.join(self.dir, "server.properties")
        self.port = free_port()
        self.controller_port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"

    def __enter__(self):
        try:
            self.init()
            self.start()
            for name, partitions in self.topics.items():
                self.create_topic(name, partitions)
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *exc):
        self.destroy()

    def java(self, heap_mb):
        return ["java", f"-Xmx{heap_mb}m", f"-Xms{min(heap_mb, 256)}m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
                "-Dlog4j2.configurationFile=" + os.path.join(self.dir, "log4j2.xml"),
                "-cp", os.path.join(self.jars, "*")]

    def write_properties(self):
        properties = {
            "process.roles": "broker,controller", "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": os.path.join(self.dir, "data"),
            "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1, "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0, "auto.create.topics.enable": "false",
            "num.partitions": 4,
            # A killed broker may return under its id only when its session has run out.
            "broker.heartbeat.interval.ms": 300, "broker.session.timeout.ms": 1500,
        }
        properties.update(self.conf)
        with open(self.properties, "w") as f:
            f.writelines(f"{k}={v}\n" for k, v in properties.items())

    def init(self):
        self.write_properties()
        with open(os.path.join(self.dir, "log4j2.xml"), "w") as f:
            f.write(LOG4J)
        out = subprocess.run(self.java(128) + ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ",
                                               "-c", self.properties] + self.format_options(),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if out.returncode:
            raise RuntimeError("Kafka could not format its storage:\n" + out.stdout)

    def format_options(self):
        return []

    def start(self, timeout_s=90):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.java(self.heap_mb) + ["kafka.Kafka", self.properties], cwd=self.dir,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("Kafka ended at once:\n" + self.tail_log())
            if broker_ready(self.bootstrap):
                return
        raise RuntimeError("Kafka did not get ready:\n" + self.tail_log())

    def stop(self, timeout_s=60):
        self._end(signal.SIGTERM, timeout_s)

    def kill9(self):
        self._end(signal.SIGKILL, 30)

    def restart(self):
        self.stop()
        self.start()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def _end(self, signal_number, timeout_s):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def destroy(self):
        self.kill9()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def create_topic(self, name, partitions=4, config=None):
        create_topic(self.bootstrap, name, partitions, config)

    def tail_log(self, lines=40):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except FileNotFoundError:
            return ""


# -- client side, any broker --

def _confluent():
    import confluent_kafka
    import confluent_kafka.admin
    return confluent_kafka


def broker_ready(bootstrap, timeout_s=1.0):
    """Whether a broker answers a metadata request."""
    admin = _confluent().admin.AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return len(admin.list_topics(timeout=timeout_s).brokers) > 0
    except _confluent().KafkaException:
        time.sleep(0.1)
        return False


def create_topic(bootstrap, name, partitions=4, config=None):
    kafka = _confluent()
    admin = kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    topic = kafka.admin.NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
    try:
        admin.create_topics([topic], operation_timeout=10)[name].result(30)
    except kafka.KafkaException as e:
        if e.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    deadline = time.time() + 30
    while time.time() < deadline:
        found = admin.list_topics(name, timeout=10).topics.get(name)
        if found is not None and found.error is None and len(found.partitions) >= partitions:
            return
        time.sleep(0.05)
    raise RuntimeError(f"topic {name} did not appear")


def delete_topic(bootstrap, name):
    admin = _confluent().admin.AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([name], operation_timeout=10)[name].result(30)
    deadline = time.time() + 30
    while name in admin.list_topics(timeout=10).topics:
        if time.time() > deadline:
            raise RuntimeError(f"topic {name} did not go")
        time.sleep(0.05)


def topic_config(bootstrap, name):
    """The topic's settings as {name: value}."""
    kafka = _confluent()
    admin = kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    resource = kafka.admin.ConfigResource(kafka.admin.ConfigResource.Type.TOPIC, name)
    entries = admin.describe_configs([resource])[resource].result(30)
    return {k: v.value for k, v in entries.items()}


def topic_partitions(bootstrap, name, timeout_s=10):
    """How many partitions the topic has; 0 when there is none."""
    admin = _confluent().admin.AdminClient({"bootstrap.servers": bootstrap})
    found = admin.list_topics(timeout=timeout_s).topics.get(name)
    return len(found.partitions) if found is not None and found.error is None else 0


class Producer:
    """Sends messages and waits until all are acknowledged: send(...) as often as wanted, then flush()."""

    def __init__(self, bootstrap, **conf):
        settings = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 1, "log_level": 2}
        settings.update(conf)
        self.producer = _confluent().Producer(settings)
        self.failed = []
        self.acknowledged = 0

    def _report(self, err, msg):
        if err:
            self.failed.append((err, msg))
        else:
            self.acknowledged += 1

    def send(self, topic, value, key=None, headers=None, partition=None):
        """value and key: str or bytes or None; headers: dict of str to str/bytes."""
        options = {} if partition is None else {"partition": partition}
        while True:
            try:
                self.producer.produce(topic, value=value, key=key, on_delivery=self._report,
                                      headers=list(headers.items()) if headers else None, **options)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def flush(self, timeout_s=30):
        left = self.producer.flush(timeout_s)
        if left or self.failed:
            raise RuntimeError(f"{left} messages not sent, {len(self.failed)} refused: {self.failed[:3]}")


def produce(bootstrap, topic, messages, timeout_s=30):
    """messages: iterable of (key, value) or (key, value, headers). Returns how many were acknowledged."""
    producer = Producer(bootstrap)
    for message in messages:
        producer.send(topic, message[1], message[0], message[2] if len(message) > 2 else None)
    producer.flush(timeout_s)
    return producer.acknowledged


class Follower:
    """Reads topics from their beginning in a thread; .messages grows; wait(n), stop()."""

    def __init__(self, bootstrap, topics, **conf):
        settings = {"bootstrap.servers": bootstrap, "group.id": "follower-" + uuid.uuid4().hex,
                    "enable.auto.commit": False, "enable.auto.offset.store": False, "log_level": 0,
                    "fetch.wait.max.ms": 20, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 1000,
                    "allow.auto.create.topics": False}
        settings.update(conf)
        self.bootstrap = bootstrap
        self.topics = [topics] if isinstance(topics, str) else list(topics)
        self.kafka = _confluent()
        self.consumer = self.kafka.Consumer(settings)
        self.messages = []
        self.assigned = set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _assign_new(self):
        """All partitions there are, from the beginning: no group, so no rebalance to wait for."""
        try:
            known = self.consumer.list_topics(timeout=5).topics
        except self.kafka.KafkaException:
            return
        new = [(t, p) for t in self.topics if t in known and known[t].error is None for p in known[t].partitions]
        new = [tp for tp in new if tp not in self.assigned]
        if new:
            self.assigned.update(new)
            self.consumer.incremental_assign(
                [self.kafka.TopicPartition(t, p, self.kafka.OFFSET_BEGINNING) for t, p in new])

    def _run(self):
        looked = 0.0
        while not self.ending.is_set():
            if time.time() - looked > (0.2 if not self.assigned else 2):
                self._assign_new()
                looked = time.time()
            if not self.assigned:
                time.sleep(0.05)
                continue
            for m in self.consumer.consume(1000, 0.1):
                if m.error() is None:
                    self.messages.append(Message(
                        m.topic(), m.partition(), m.offset(), m.timestamp()[1],
                        None if m.key() is None else m.key().decode(), m.value(),
                        {k: None if v is None else v.decode() for k, v in m.headers() or []}))
        self.consumer.close()

    def wait(self, count, timeout_s=30):
        """Waits for that many messages; returns all there are then."""
        deadline = time.time() + timeout_s
        while len(self.messages) < count and time.time() < deadline:
            time.sleep(0.02)
        return list(self.messages)

    def wait_for(self, condition, timeout_s=30):
        """Waits until condition(messages); returns whether it came true."""
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            if condition(self.messages):
                return True
            time.sleep(0.05)
        return condition(self.messages)

    def stop(self):
        self.ending.set()
        self.thread.join(15)
        return list(self.messages)


def consume(bootstrap, topics, count=None, timeout_s=30, quiet_s=1.0):
    """Messages of the topics from the beginning: until count are there, or nothing came for quiet_s, or timeout_s."""
    follower = Follower(bootstrap, topics)
    deadline = time.time() + timeout_s
    seen, changed = 0, time.time()
    while time.time() < deadline:
        if count is not None and len(follower.messages) >= count:
            break
        if len(follower.messages) != seen:
            seen, changed = len(follower.messages), time.time()
        elif count is None and follower.assigned and time.time() - changed > quiet_s:
            break
        time.sleep(0.02)
    return follower.stop()
