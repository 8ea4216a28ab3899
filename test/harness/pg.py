"""A throw-away PostgreSQL cluster on a free port, run by an unprivileged user.

Usage:
    with Cluster() as pg:            # initdb, start, later stop and delete
        pg.psql("postgres", "select 1")
        conn = pg.connect("postgres")
"""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import psycopg2

from harness import leftovers, locks

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEST_USER = "backoffice-test"

BASE_CONF = {
    "shared_preload_libraries": "'backoffice'",
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "max_prepared_transactions": "20",
    "max_worker_processes": "100",
    "shared_buffers": "256MB",
    "log_line_prefix": "'%m [%p] %b '",
    "log_min_messages": "info",
    "fsync": "off",
}


def pg_tree():
    return subprocess.check_output([os.path.join(ROOT, "scripts/pgtree"), "--path"], text=True).strip()


def place(tree, what):
    """PG_CONFIG may name another server than Debian's."""
    config = os.environ.get("PG_CONFIG", "/usr/lib/postgresql/15/bin/pg_config")
    return tree + subprocess.check_output([config, what], text=True).strip()


def bin_dir(tree):
    """Where the tree has the server's programs."""
    return place(tree, "--bindir")


def share_dir(tree):
    return place(tree, "--sharedir")


def pg_bin(name):
    return os.path.join(bin_dir(pg_tree()), name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def server_user():
    """The user to run servers as: None when we are not root. Made when missing."""
    if os.getuid() != 0:
        return None
    with locks.alone("user"):
        try:
            return pwd.getpwnam(TEST_USER)
        except KeyError:
            subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", TEST_USER], check=True)
            return pwd.getpwnam(TEST_USER)


class Cluster:
    """One cluster. conf overrides BASE_CONF; values are written to postgresql.conf as they are."""

    def __init__(self, conf=None, base=None, port=None, keep=False, tree=None):
        self.user = server_user()
        self.keep = keep
        leftovers.sweep()
        self.dir = base or tempfile.mkdtemp(prefix="backoffice-pg-", dir="/tmp")
        self.data = os.path.join(self.dir, "data")
        self.log = os.path.join(self.dir, "server.log")
        self.port = port or free_port()
        self.conf = dict(BASE_CONF)
        self.conf.update(conf or {})
        self.environment = {}       # of the server
        self.key_file = os.path.join(self.dir, "keys")
        self.bin = bin_dir(tree or pg_tree())

    # -- life --

    def __enter__(self):
        self.init()
        self.start()
        return self

    def __exit__(self, *exc):
        self.destroy()

    def _run(self, argv, check=True, **kw):
        return subprocess.run(self.as_user(argv), check=check, cwd=self.dir, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **kw)

    def as_user(self, argv):
        if self.user is None:
            return argv
        return ["setpriv", "--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid), "--clear-groups",
                "--reset-env", "env", f"{leftovers.MARK}={os.environ.get(leftovers.MARK, '')}"] + argv

    def own(self, path):
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def init(self):
        os.chmod(self.dir, 0o755)
        self.own(self.dir)
        if not self.keep:
            leftovers.claim(self.dir)
        out = self._run([os.path.join(self.bin, "initdb"), "-D", self.data, "-U", "postgres", "-A", "trust",
                         "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], check=False)
        if out.returncode:
            raise RuntimeError("initdb failed:\n" + out.stdout)
        if not os.path.exists(self.key_file):
            with open(self.key_file, "w") as f:
                f.write("k1 " + os.urandom(32).hex() + "\n")
            self.own(self.key_file)
            os.chmod(self.key_file, 0o600)
        self.write_conf()

    def write_conf(self, **more):
        self.conf.update(more)
        with open(os.path.join(self.data, "backoffice.conf"), "w") as f:
            for k, v in self.conf.items():
                f.write(f"{k} = {v}\n")
            f.write(f"unix_socket_directories = '{self.dir}'\nport = {self.port}\n")
            f.write(f"backoffice.key_file = '{self.key_file}'\n")
        self.own(os.path.join(self.data, "backoffice.conf"))
        main = os.path.join(self.data, "postgresql.conf")
        if "backoffice.conf" not in open(main).read():
            with open(main, "a") as f:
                f.write("include 'backoffice.conf'\n")

    def start(self, timeout_s=60):
        environment = ["env"] + [f"{name}={value}" for name, value in self.environment.items()]
        out = self._run(environment + [os.path.join(self.bin, "pg_ctl"), "-D", self.data, "-l", self.log, "-w",
                                       "-t", str(timeout_s), "start"], check=False, stdin=subprocess.DEVNULL)
        if out.returncode:
            raise RuntimeError("server did not start:\n" + out.stdout + self.tail_log())

    def stop(self, mode="fast"):
        self._run([os.path.join(self.bin, "pg_ctl"), "-D", self.data, "-w", "-m", mode, "stop"], check=False)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def postmaster_pid(self):
        with open(os.path.join(self.data, "postmaster.pid")) as f:
            return int(f.readline())

    def kill9(self):
        """kill -9 of the postmaster; waits until the whole cluster is gone. See torture for the subreaper."""
        pid = self.postmaster_pid()
        os.kill(pid, signal.SIGKILL)
        deadline = time.time() + 60
        while time.time() < deadline:
            try:
                state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                break
            if state == "Z":
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
            time.sleep(0.02)
        # Backends notice the postmaster's death by themselves; the shared memory must be free before a restart.
        time.sleep(0.2)

    def destroy(self):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            self.stop("immediate")
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def tail_log(self, lines=40):
        try:
            with open(self.log) as f:
                return "".join(f.readlines()[-lines:])
        except FileNotFoundError:
            return ""

    def major(self):
        return int(self._run([os.path.join(self.bin, "postgres"), "-V"]).stdout.split()[2].split(".")[0])

    def in_words_of(self, sql):
        """Settings of PostgreSQL 15, which the tests speak, by the server's names."""
        return sql if self.major() < 16 else sql.replace("force_parallel_mode", "debug_parallel_query")

    # -- use --

    def env(self):
        e = dict(os.environ)
        e.update(PGHOST=self.dir, PGPORT=str(self.port), PGUSER="postgres")
        e["PATH"] = self.bin + ":" + e["PATH"]
        return e

    def dsn(self, dbname="postgres", user="postgres"):
        return f"host={self.dir} port={self.port} dbname={dbname} user={user}"

    def connect(self, dbname="postgres", user="postgres", autocommit=True):
        conn = psycopg2.connect(self.dsn(dbname, user))
        conn.autocommit = autocommit
        return conn

    def query(self, sql, params=None, dbname="postgres", user="postgres"):
        """Rows of one statement, as a list of tuples ([] when it returns none)."""
        conn = self.connect(dbname, user)
        try:
            with conn.cursor() as cur:
                cur.execute(sql, params)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()

    def psql(self, dbname, sql, check=True, timeout_s=300):
        """What psql prints. Whatever hangs is an error: a run must end."""
        try:
            out = subprocess.run([os.path.join(self.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dbname], timeout=timeout_s,
                                 input=sql, env=self.env(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as e:
            text = (e.stdout or b"").decode(errors="replace") if isinstance(e.stdout, bytes) else e.stdout or ""
            raise RuntimeError(f"psql did not end in {timeout_s} s:\n{text}\n{self.tail_log()}") from None
        if check and out.returncode:
            raise RuntimeError(f"psql failed:\n{out.stdout}")
        return out.stdout

    def create_database(self, name, extension=True):
        self.query(f'CREATE DATABASE "{name}"')
        if extension:
            self.query("CREATE EXTENSION backoffice", dbname=name)
