"""What an idle listener to events costs the gateway, beside the same number of idle streams of Go's net/http."""
import time

from figures import peers
from figures.gateway import POOL, Stage, answer
from frame import Missing, say

from harness.crowd import Crowd, memory, raise_file_limit
from harness.gateway import KID, SECRET, hs256

LISTENERS = 10000
SETTLE_S = 3
TARGET = 16384


def bytes_each(pids, port, wanted):
    """Memory of their own that the processes have more with all the streams open."""
    with Crowd(port, wanted[:50]) as warm:
        warm.drain(SETTLE_S)
        before = memory(pids)
        with Crowd(port, wanted) as crowd:
            crowd.drain(SETTLE_S)
            if crowd.open_count() != len(wanted):
                raise RuntimeError(f"{crowd.open_count()} of {len(wanted)} streams are open")
            return (memory(pids) - before) / len(wanted)


def sse_idle(bench):
    stage = Stage.of(bench)
    bench.query("SELECT events.define_topic('bench.heard'), events.let_listen('bench.heard', 'events.read')")
    n = min(LISTENERS, raise_file_limit() - 500)
    bench.query("SELECT access.add_verification_key(%s, 'HS256', %s)", (KID, SECRET))
    # A token each, as different sessions have: the gateway keeps them to look at their rights again.
    claims = {"sub": str(stage.user), "org": str(bench.organization), "exp": int(time.time()) + 86400}
    tokens = [hs256({**claims, "jti": str(i)}) for i in range(n)]
    wanted = {path: [(path, token) for token in tokens] for path in ("/events", "/ws")}
    ours = {}
    for path in wanted:
        gateway = stage.gateway(listeners_per_principal=2 * n, connections=2 * n)
        answer(gateway, stage)
        ours[path] = bytes_each(gateway.pids(), gateway.port, wanted[path])
    go, absent = None, None
    try:
        process, port = peers.go(bench, stage.dsn, POOL)
        go = bytes_each([process.pid], port, wanted["/events"])
    except Missing as e:
        absent = str(e)
        say(f"   without go: {e}")
    for path, name in (("/events", "sse_idle_listener_bytes"), ("/ws", "websocket_idle_listener_bytes")):
        bench.report(name, ours[path], go, "bytes/listener", f"<= {TARGET}", ours[path] <= TARGET, listeners=n,
                     note="baseline: net/http, a goroutine each, Server-Sent Events")
    if absent:
        raise Missing("go: " + absent)
