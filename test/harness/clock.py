"""A server whose clock can be set (clock_shim.c).

    clock = Clock(pg)       # between pg.init() and pg.start()
    clock.ahead(3600); clock.to("03:16:55"); clock.ahead(0)
"""
import datetime
import mmap
import os
import struct
import subprocess
import time

from harness.pg import ROOT


class Clock:
    def __init__(self, pg):
        library, path = os.path.join(pg.dir, "clock.so"), os.path.join(pg.dir, "clock")
        subprocess.check_call(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library,
                               os.path.join(ROOT, "test/harness/clock_shim.c")])
        with open(path, "w+b") as f:
            f.write(bytes(8))
            f.flush()
            self.page = mmap.mmap(f.fileno(), 8)
        os.chmod(path, 0o644)
        self.seconds = 0
        pg.environment = {"LD_PRELOAD": library, "BACKOFFICE_TEST_CLOCK": path}

    def ahead(self, seconds):
        """Sets the clock so many seconds before (negative: behind) the real one."""
        self.seconds = seconds
        self.page[:] = struct.pack("q", int(seconds * 1000000))

    def now(self):
        return datetime.datetime.fromtimestamp(time.time() + self.seconds, datetime.timezone.utc)

    def to(self, hour_minute_second):
        """Ahead to the next such time of day (UTC)."""
        now = self.now()
        hour, minute, second = map(int, hour_minute_second.split(":"))
        at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
        if at <= now:
            at += datetime.timedelta(days=1)
        self.ahead(self.seconds + (at - now).total_seconds())
