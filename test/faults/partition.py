"""The network between the Kafka workers, the database and the broker fails while all three run."""
import json
import os
import time

from harness.kafka import RealKafka, produce
from harness.network import Island, leave_the_network
from harness.pg import free_port
from harness.shop import IN, Shop, check_stream, everything_there, follow, until


class IslandKafka(RealKafka):
    """Listens on the island's line too."""

    def __init__(self, address, **options):
        port = free_port()
        super().__init__(**options)
        plain = f"PLAINTEXT://127.0.0.1:{self.port},ISLAND://{address}:{port}"
        self.conf = {"listeners": f"{plain},CONTROLLER://127.0.0.1:{self.controller_port}", "advertised.listeners": plain,
                     "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,ISLAND:PLAINTEXT,CONTROLLER:PLAINTEXT"}
        self.from_island = type("Listener", (), {"bootstrap": f"{address}:{port}"})


class Site:
    def __init__(self, shop, kafka, island):
        self.shop, self.kafka, self.island = shop, kafka, island
        self.follower = follow(kafka)
        self.sent = 0
        with open(os.path.join(shop.pg.data, "pg_hba.conf"), "a") as f:
            f.write("host all all 198.18.0.0/15 trust\n")
        shop.query("SELECT pg_reload_conf()")
        far = {"database": f"host={island.here['database']} port={shop.pg.port} dbname=shop user=worker", "statement_timeout_ms": 2000,
               "heartbeat_ms": 500}
        self.relay = shop.relay(kafka.from_island, lease_ms=3000, **far)
        self.ingest = shop.ingest(kafka.from_island, session_timeout_ms=6000, **far)
        self.near = shop.relay(kafka, lease_ms=3000)
        self.relay.prefix = self.ingest.prefix = island.prefix

    def send(self, count):
        self.shop.emit(count, per_transaction=20)
        produce(self.kafka.bootstrap, IN, [(f"k{n % 7}", json.dumps({"n": n, "eventId": f"m-{n}"})) for n in range(self.sent, self.sent + count)])
        self.sent += count

    def accepted(self):
        return [row[0] for row in self.shop.query("SELECT (payload->>'n')::int FROM events.read(NULL, 1000000, ARRAY[%s])", (IN,))]

    def settle_out(self, timeout_s=40):
        log, parked = everything_there(self.follower, self.shop, timeout_s)
        assert not parked
        check_stream(list(self.follower.messages), log, once=False)

    def settle(self):
        self.settle_out()
        until(lambda: len(self.accepted()) >= self.sent, 40, f"{self.sent} messages")
        assert sorted(self.accepted()) == list(range(self.sent)), "each message once"
        assert all(worker.alive() for worker in self.shop.workers if worker.process)
        assert not self.shop.query("SELECT 1 FROM events.parked_inbound")


def broker_is_away(site):
    """Nothing passes for longer than a session of the consumer group; then, the broker hears and is not heard."""
    for fail in (site.island.cut, site.island.deaf):
        site.send(100)
        fail("broker")
        site.send(300)
        time.sleep(7)
        site.island.heal("broker")
        site.send(100)
        site.settle()


def database_is_away(site):
    """The other relay takes the work over while the database cannot be reached from here, and shares it again afterwards."""
    site.near.start()
    until(lambda: site.near.metric("backoffice_relay_shards") == 4, 20, "sharing")
    for fail in (site.island.cut, site.island.deaf):
        site.send(100)
        fail("database")
        site.send(300)
        until(lambda: site.near.metric("backoffice_relay_shards") == 8, 10, "the take-over of the leases")
        site.settle_out(15)
        site.island.heal("database")
        site.send(100)
        site.settle()
        until(lambda: site.near.metric("backoffice_relay_shards") == 4, 30, "sharing again")
    assert site.near.stop() == 0
    site.near.process = None


def lossy(site):
    """Both lines go and come many times a second."""
    for number in range(12):
        for line in ("database", "broker"):
            site.island.cut(line)
        site.send(20)
        time.sleep(0.1 + 0.02 * number)
        for line in ("database", "broker"):
            site.island.heal(line)
        time.sleep(0.15)
    site.settle()


def bad_weather(site):
    """Packets are lost, late, overtaken and repeated, more and more of them; then all is well again."""
    weather = site.island.weather
    for storm in ({"delay_ms": 20, "jitter_ms": 10}, {"loss": 0.02, "jitter_ms": 30, "twice": 0.05}, {"loss": 0.15, "delay_ms": 10, "jitter_ms": 50, "twice": 0.1}):
        carried, lost = weather.carried.value, weather.lost.value
        weather.set(**storm)
        for _ in range(5):
            site.send(60)
            time.sleep(0.4)
        time.sleep(1)
        weather.set()
        site.settle()
        assert weather.carried.value - carried > 200, "the lines were hardly used"
        assert "loss" not in storm or weather.lost.value > lost, "nothing was lost"


# Network namespaces are root's: for others there is no such case.
if os.getuid() == 0:
    def case_partition():
        through_all((broker_is_away, database_is_away, lossy))

    def case_weather():
        through_all((bad_weather,), weather=True)

    def through_all(steps, weather=False):
        leave_the_network()
        island = Island(["database", "broker"], weather)
        try:
            with IslandKafka(island.here["broker"], topics={IN: 4}) as kafka, \
                    Shop({"listen_addresses": f"'{island.here['database']}'"}) as shop:
                site = Site(shop, kafka, island)
                site.relay.start()
                site.ingest.start()
                try:
                    site.send(200)
                    site.settle()
                    for step in steps:
                        step(site)
                    assert site.relay.stop() == 0 and site.ingest.stop() == 0
                except AssertionError as e:
                    raise AssertionError(f"{e}\n{shop.report()}") from e
                finally:
                    site.follower.stop()
        finally:
            island.close()
