"""A day of a shop that sells gift certificates, as three feeds: orders, payments, clients.

Feed(seed, orders) makes the messages in the order in which they are sent, and says what must come of them (`expected`): it knows, because
it made the story of each order. The stories: paid and delivered, paid before the order arrives, everything sent twice, cancelled
before payment, never paid, given back whole or in part, a refund that does not say enough, a message that is no JSON. The three topics are
independent of each other, so the outcome must be the same in whatever order their messages arrive.
"""
import collections
import dataclasses
import json
import random
import uuid

CURRENCY = "EUR"
POOLS = {"GIFT-25": 2500, "GIFT-50": 5000, "GIFT-100": 10000}
# Sold out in the middle of the day, and replenished.
SCARCE = ("CONCERT-30", 3000)
SCARCE_SHARE = 0.08
CHANNELS = ["internet_store", "pos"]

STORIES = {"plain": 66, "payment_first": 10, "twice": 6, "cancelled": 6, "unpaid": 3, "refunded": 3, "part_refunded": 3,
           "vague_refund": 2, "garbage": 1}

Message = collections.namedtuple("Message", "topic key id value")


@dataclasses.dataclass
class Line:
    id: str
    pool: str
    unit_minor: int
    quantity: int


@dataclasses.dataclass
class Order:
    id: str
    channel: str
    client: str
    lines: list
    story: str

    @property
    def total_minor(self):
        return sum(line.quantity * line.unit_minor for line in self.lines)

    @property
    def certificates(self):
        return sum(line.quantity for line in self.lines)


class Feed:
    def __init__(self, seed, orders):
        self.rng = random.Random(seed)
        self.timed = []
        self.orders = []
        self.stories = collections.Counter()
        self.demand = collections.Counter()         # certificates that are ever reserved, by pool
        self.expected = collections.Counter()       # what must come out: (what, channel) -> how often
        self.duplicates = 0
        self.garbage = 0
        for number in range(1, orders + 1):
            self._tell(number)
        self.timed.sort(key=lambda timed: timed[0])
        self.messages = [message for _, message in self.timed]

    def _tell(self, number):
        # Each story at least once, however small the feed.
        names = list(STORIES)
        story = names[number - 1] if number <= len(names) else self.rng.choices(names, list(STORIES.values()))[0]
        channel = self.rng.choices(CHANNELS, [65, 35])[0]
        lines = [Line(str(n + 1), *self._article(), self.rng.choices([1, 2, 3], [80, 15, 5])[0])
                 for n in range(self.rng.choices([1, 2], [85, 15])[0])]
        if story == "part_refunded":
            # A second line that stays, so that it is a part that is given back.
            lines = [lines[0], Line("2", "GIFT-25", POOLS["GIFT-25"], 1)]
        order = Order(f"{'WEB' if channel == 'internet_store' else 'POS'}-{number:06}", channel,
                      f"client-{self.rng.randrange(1, 500):04}", lines, story)
        self.orders.append(order)
        self.stories[story] += 1
        for line in lines:
            self.demand[line.pool] += 0 if story == "garbage" else line.quantity
        getattr(self, "_" + story)(order, float(number))

    def _article(self):
        return SCARCE if self.rng.random() < SCARCE_SHARE else self.rng.choice(sorted(POOLS.items()))

    # -- stories --

    def _plain(self, o, at):
        self._client(o, at)
        self._order(o, at)
        self._pay(o, at + self.rng.uniform(0.5, 20))
        self._expect("sold and kept", o, o.certificates)

    def _payment_first(self, o, at):
        self._pay(o, at)
        self._order(o, at + self.rng.uniform(5, 30))
        self._expect("sold and kept", o, o.certificates)

    def _twice(self, o, at):
        """The sender repeats a message under its id (a retry) and under a new one (a second export)."""
        self._order(o, at)
        self._pay(o, at + 2)
        self._again(at + 3)
        self._order(o, at + 4)
        self._pay(o, at + 5)
        self._expect("sold and kept", o, o.certificates)

    def _cancelled(self, o, at):
        self._order(o, at)
        self._order(o, at + self.rng.uniform(3, 15), version=2, status="cancelled")

    def _unpaid(self, o, at):
        self._order(o, at)

    def _refunded(self, o, at):
        self._order(o, at)
        self._pay(o, at + 1)
        self._refund(o, at + self.rng.uniform(10, 60), o.total_minor, {"lineIds": [line.id for line in o.lines]})
        self._expect("refund carried out", o, 1)

    def _part_refunded(self, o, at):
        self._order(o, at)
        self._pay(o, at + 1)
        first = o.lines[0]
        self._refund(o, at + self.rng.uniform(10, 60), first.quantity * first.unit_minor, {"lineIds": [first.id]})
        self._expect("sold and kept", o, o.certificates - first.quantity)
        self._expect("refund carried out", o, 1)

    def _vague_refund(self, o, at):
        """One cent less than everything, and no word about which certificates: somebody has to be asked."""
        self._order(o, at)
        self._pay(o, at + 1)
        self._refund(o, at + self.rng.uniform(10, 60), o.total_minor - 1, None)
        self._expect("sold and kept", o, o.certificates)
        self._expect("refund waits for details", o, 1)

    def _garbage(self, o, at):
        broken = self.rng.choice([b'{"orderId": "' + o.id.encode() + b'", "channel": ', b"\xff\xfe not even text",
                                  json.dumps({"orderId": o.id, "channel": o.channel}).encode()])
        self._send(at, "All_SalesOrder", o.id, broken)
        self.garbage += 1

    def _expect(self, what, order, times):
        self.expected[(what, order.channel)] += times

    # -- messages --

    def _send(self, at, topic, key, value):
        if not isinstance(value, bytes):
            value = json.dumps(value).encode()
        self.timed.append((at, Message(topic, key, str(uuid.UUID(int=self.rng.getrandbits(128), version=4)), value)))

    def _again(self, at):
        """The last message once more, under the same id."""
        self.timed.append((at, self.timed[-1][1]))
        self.duplicates += 1

    def _order(self, o, at, version=1, status="created"):
        self._send(at, "All_SalesOrder", o.id, {
            "orderId": o.id, "channel": o.channel, "status": status, "version": version, "customer": {"clientId": o.client},
            "lines": [{"lineId": line.id, "pool": line.pool, "quantity": line.quantity,
                       "amount": {"minor": line.quantity * line.unit_minor, "currency": CURRENCY}} for line in o.lines]})

    def _pay(self, o, at):
        self._send(at, "All_Payments", o.id, {
            "paymentId": "pay-" + o.id, "orderId": o.id, "type": "capture", "status": "succeeded",
            "amount": {"minor": o.total_minor, "currency": CURRENCY}})

    def _refund(self, o, at, minor, details):
        payment = {"paymentId": "refund-" + o.id, "orderId": o.id, "type": "refund", "status": "succeeded",
                   "amount": {"minor": minor, "currency": CURRENCY}}
        if details is not None:
            payment["refund"] = details
        self._send(at, "All_Payments", o.id, payment)

    def _client(self, o, at):
        if self.rng.random() < 0.3:
            self._send(at, "All_Clients", o.client, {"clientId": o.client, "version": 1, "contacts": {"email": o.client + "@example.com"}})
