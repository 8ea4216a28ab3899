"""libpq's pipeline mode, by ctypes: psycopg2 has none.

    with Pipeline(dsn) as pipe:
        pipe.send("SELECT 1"); pipe.sync()      # any number of them, then
        pipe.results()                          # of one sync: [("ok", rows), ("error", SQLSTATE, symbol), ("aborted",)]
"""
import ctypes
import ctypes.util

PGRES = {1: "ok", 2: "ok", 7: "error", 10: "sync", 11: "aborted"}
lib = ctypes.CDLL(ctypes.util.find_library("pq"))
for name, result in (("PQconnectdb", ctypes.c_void_p), ("PQgetResult", ctypes.c_void_p), ("PQgetvalue", ctypes.c_char_p),
                     ("PQresultErrorField", ctypes.c_char_p), ("PQerrorMessage", ctypes.c_char_p)):
    getattr(lib, name).restype = result


class Pipeline:
    def __init__(self, dsn):
        self.conn = ctypes.c_void_p(lib.PQconnectdb(dsn.encode()))
        assert lib.PQstatus(self.conn) == 0, lib.PQerrorMessage(self.conn)
        assert lib.PQenterPipelineMode(self.conn) == 1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        lib.PQfinish(self.conn)

    def send(self, sql, *params):
        values = (ctypes.c_char_p * len(params))(*[None if p is None else str(p).encode() for p in params])
        assert lib.PQsendQueryParams(self.conn, sql.encode(), len(params), None, values, None, None, 0) == 1, lib.PQerrorMessage(self.conn)

    def sync(self):
        assert lib.PQpipelineSync(self.conn) == 1

    def results(self):
        """To the next sync."""
        found = []
        while True:
            result = lib.PQgetResult(self.conn)
            if not result:          # the end of one statement
                continue
            result = ctypes.c_void_p(result)
            kind = PGRES[lib.PQresultStatus(result)]
            if kind == "ok":
                rows = [tuple(None if lib.PQgetisnull(result, r, c) else lib.PQgetvalue(result, r, c).decode() for c in range(lib.PQnfields(result)))
                        for r in range(lib.PQntuples(result))]
                found.append(("ok", rows))
            elif kind == "error":
                fields = [lib.PQresultErrorField(result, ord(f)) for f in "Cn"]
                found.append(("error",) + tuple(f.decode() if f else None for f in fields))
            elif kind == "aborted":
                found.append(("aborted",))
            lib.PQclear(result)
            if kind == "sync":
                return found
