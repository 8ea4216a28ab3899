"""Random requests to the functions of the conformance fixture, good ones and bad ones, as two servers that answer alike must answer alike.

Left out is what docs/conformance.md says ours does otherwise.
"""
import json
import random
import urllib.parse

# Functions that answer rows: their arguments, and their columns.
ROWS = {
    "all_tools": ({}, {"id": "int", "name": "text", "maker_id": "int"}),
    "tools_below": ({"id": "int"}, {"id": "int", "name": "text", "maker_id": "int"}),
    "one_tool": ({"id": "int"}, {"id": "int", "name": "text", "maker_id": "int"}),
    "parts_between": ({"low": "int", "high": "int"}, {"id": "int"}),
    "all_members": ({}, {"id": "int", "name": "text", "above": "int", "beside": "int"}),
    "all_items": ({}, {"id": "int", "name": "text", "numbers": "array", "words": "vector"}),
    "all_spans": ({}, {"id": "int", "span": "range"}),
    "all_notes": ({}, {"id": "int", "body": "words", "data": "json"}),
    "all_words": ({}, {"id": "int", "vector": "vector"}),
    "all_papers": ({}, {"id": "int", "data": "json"}),
    "all_settings": ({}, {"id": "int", "data": "json"}),
    "all_chores": ({}, {"id": "int", "name": "words", "done": "bool"}),
    "all_pairs": ({}, {"a": "text", "b": "text"}),
    "all_people": ({}, {"name": "text"}),
    "all_moments": ({}, {"at": "time"}),
    "all_arrays": ({}, {"id": "int", "numbers": "array", "grid": "array", "pair": "json"}),
    "all_odd": ({}, {"t": "int", "count": "int", "UPPER case": "int", 'with "quote': "int", "and_column": "text", "or_column": "text"}),
    "scalars": ({}, {"a": "text", "b": "text", "c": "int", "d": "range"}),
    "spots": ({}, {"id": "int", "val": "json"}),
    "records_out": ({"low": "int", "pattern": "text"}, {"id": "int", "name": "text"}),
    "test": ({}, {"test": "text", "value": "int"}),
}
# Functions that answer one value, or fail, or are not there.
VALUES = {
    "sum_of": {"a": "int", "b": "int"}, "greet": {"name": "text"}, "greet_all": {"name": "text", "rest": "list"}, "plain": {}, "an_array": {},
    "an_enum": {"val": "text"}, "a_domain": {"val": "int"}, "a_range": {"low": "int", "up": "int"}, "a_spot": {}, "nothing": {}, "a_null": {},
    "kind_of_json": {"arg": "json"}, "camelCase": {"user": "text", "fullName": "text", "SSN": "text"}, "all_of": {"v": "list"},
    "numbers_of": {"n": "list"}, "three_defaults": {"a": "int", "b": "int", "c": "int"}, "one_out": {"num": "int"},
    "one_json_out": {"a": "int", "b": "text"}, "many_out": {}, "many_inout": {"num": "int", "str": "text", "b": "bool"},
    "many_forms": {"a": "int", "b": "int"}, "same_names": {"arg": "int"}, "spot_of": {"x": "int", "y": "int"},
    "by_default": {"a": "int", "must": "int", "opt": "text"}, "body_text": {}, "body_xml": {}, "body_bytes": {}, "body_integer": {},
    "named_json": {"data": "json"}, "three_numbers": {}, "nothing_found": {}, "hello_page": {}, "hello_text": {}, "hello_xml": {}, "a_picture": {},
    "anything": {}, "some_things": {}, "tools_and_headers": {}, "number_and_headers": {"num": "int"}, "two_cookies": {}, "refused_login": {},
    "problem": {}, "pay_first": {}, "custom_all": {}, "custom_few": {}, "true": {}, "find_part": {"id": "int"}, "no_such": {}, "all_toolz": {},
    "missing_table": {}, "two_rows": {}, "wide_char": {"char_": "text"},
}
TEXTS = {
    "int": ["1", "2", "3", "5", "15", "-1", "0", "abc", "", "1.5", "99999999999", "null"],
    "text": ["x", "Saw", "Plane 7", "a b", "", "ü", '"', "a,b", "(a)", "*", "%", "null", "1"],
    "bool": ["true", "false", "x", "t"],
    "json": ['{"a":1}', "[1,2]", "1", '"x"', "null", "{", '{"foo": {"bar": "baz"}}'],
    "list": ["{a,b}", "{1,2}", "1", "x", "{}", '{"a,b",c}'],
    "array": ["{1,2}", "{1}", "{}", "1", "{x}"],
    "range": ["[1,4]", "(1,9)", "empty", "x"],
    "vector": ["fun", "rats & cats", "a'b", "fun|rat"],
    "words": ["fun", "cats rats", "oil", "a'b"],
    "time": ["2023-10-18", "x"],
}
USUAL = {"int": ["eq", "gt", "lt", "in", "is", "neq"], "text": ["eq", "like", "ilike", "in", "is"], "array": ["cs", "cd", "ov", "is"], "range": ["sl", "sr", "adj", "ov"],
         "vector": ["fts", "plfts", "phfts", "wfts"], "words": ["fts", "like"], "json": ["eq", "is", "cs"], "bool": ["is", "eq"], "time": ["eq", "lt"]}
OPERATORS = ["eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "in", "is", "isdistinct", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj", "bad", "EQ", ""]
PREFER = ["count=exact", "count=planned", "count=estimated", "handling=strict", "handling=lenient", "handling=strict, foo", "tx=rollback", "tx=rollback, count=exact",
          "timezone=Europe/Berlin", "timezone=Nowhere", "max-affected=2", "handling=strict, max-affected=2", "return=minimal", "count=exact, return=representation",
          "params=single-object", "count=exact,count=planned", "missing=default, handling=strict", "foo=bar, handling=strict"]
ACCEPT = ["*/*", "application/json", "application/vnd.pgrst.object+json", "application/vnd.pgrst.object", "application/vnd.pgrst.object+json;nulls=stripped",
          "application/vnd.pgrst.array+json;nulls=stripped", "application/vnd.pgrst.array+json", "text/plain", "text/html", "text/xml", "image/gif",
          "application/octet-stream", "application/vnd.lines", "application/openapi+json", "x/y", "bad", "application/json;q=0.9, x/y", "*/*;q=0.1", "text/*",
          "text/html, application/xhtml+xml, */*;q=0.8", "application/vnd.pgrst.plan", "application/*", "application/json; charset=utf-8", "application/json;nulls=stripped"]
RANGES = ["0-1", "1-2", "0-0", "2-1", "100-200", "0-", "-1", "x", "1-1"]


class Requests:
    """next() is (method, path, headers, body, whether as the clerk)."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, probability):
        return self.random.random() < probability

    def one(self, values):
        return self.random.choice(list(values))

    # ---- the query string ----

    def column(self, name):
        plain = name.replace("_", "").isalnum()
        return name if plain and not self.chance(0.1) else '"' + name.replace('"', '\\"') + '"'

    def path(self, kind):
        if kind != "json":
            return ""
        return self.one(["", "->foo", "->>foo", "->0", "->>0", "->-1", "->foo->bar", "->foo->>bar", "->x", "->>x", "->", "->>", "->0->>1"])

    def value(self, kind, operator):
        value = self.one(TEXTS[kind])
        if operator == "in":
            few = ",".join(self.one(TEXTS[kind]) for _ in range(self.random.randint(0, 3)))
            return self.one(["(" + few + ")", "(1", "1,2)", "()", '("a,b",c)', '("a\\"b")'])
        if operator == "is":
            return self.one(["null", "true", "false", "unknown", "not_null", "NULL", "nul", "1", "not.null"])
        if operator in ("like", "ilike"):
            return self.one(["*a*", "%", "P*", "*", value])
        return self.one(["{1}", "{1,2}", "[1,2]", "(1,9)", '{"a":1}', value]) if operator in ("cs", "cd", "ov") else value

    def condition(self, kind):
        operator = self.one(USUAL[kind] if self.chance(0.5) else OPERATORS)
        written, value = operator, self.value(kind, operator)
        if self.chance(0.08):
            written += self.one(["(any)", "(all)", "(x)", "()"])
        if operator.endswith("fts") and self.chance(0.4):
            written += self.one(["(english)", "(french)", "(no)", "()"])
        if written.endswith(("(any)", "(all)")):
            value = "{" + value + "," + self.value(kind, operator) + "}"
        return ("not." if self.chance(0.15) else "") + written + ("" if self.chance(0.02) else ".") + value

    def tree(self, columns, depth=0):
        parts = []
        for _ in range(self.random.randint(1, 3)):
            if depth < 2 and self.chance(0.25):
                parts.append(self.one(["", "not."]) + self.one(["and", "or"]) + self.tree(columns, depth + 1))
            else:
                name = self.one(columns)
                parts.append(self.column(name) + self.path(columns[name]) + "." + self.condition(columns[name]))
        return "(" + self.one([","] * 9 + [" , ", ""]).join(parts) + self.one([")"] * 25 + ["", ",)"])

    def select(self, columns):
        """The parameter, and the columns that can be sorted by."""
        items, names = [], []
        for _ in range(self.random.randint(1, 3)):
            if self.chance(0.12):
                items.append("*")
                names += columns
                continue
            name = self.one(columns)
            names.append(name)
            items.append(self.one(["x:", '"a b":', "y1:", "é:"] + [""] * 16) + self.column(name) + self.path(columns[name])
                         + self.one(["::text", "::int", "::jsonb", "::"] + [""] * 20))
        if self.chance(0.04):
            items.append(self.one(["no_col", "", "a(b)", "x:", "...a(b)", "*::text"]))
        if self.chance(0.06):
            # Of all rows: groups have no order.
            return self.one(["count()", "n:count()", "count()::text"] + ["id.sum()", "id.max()::text", "s:id.avg()", "id.min(),id.max()", "id.none()"] * ("id" in columns)), []
        return ",".join(items), names

    def order(self, names):
        endings = ["", ".asc", ".desc", ".nullsfirst", ".desc.nullslast", ".asc.nullsfirst"] * 3 + [".bad", ".", "..desc"]
        return ",".join(self.column(self.one(names)) + self.one(endings) for _ in range(self.random.randint(1, 2)))

    def shape(self, columns):
        """Parameters that ask for some of the rows."""
        parameters, names = [], list(columns)
        if columns:
            if self.chance(0.4):
                select, names = self.select(columns)
                parameters.append(("select", select))
            for _ in range(self.one([0, 0, 1, 1, 2])):
                name = self.one(columns)
                parameters.append((self.column(name) + self.path(columns[name]), self.condition(columns[name])))
            if self.chance(0.15):
                parameters.append((self.one(["and", "or", "not.and", "not.or"]), self.tree(columns)))
            if names and self.chance(0.25):
                parameters.append(("order", self.order(names)))
        if self.chance(0.15):
            parameters.append(("limit", self.one(["1", "2", "0", "100", "-1", "x", "", "1.5"])))
        if self.chance(0.12):
            parameters.append(("offset", self.one(["1", "0", "2", "100", "-1", "x", ""])))
        if self.chance(0.02):
            parameters.append(("columns", self.one(["a", "a,b", '"a"', "", "a,,b"])))
        return parameters

    # ---- the request ----

    def body(self, arguments, given, headers):
        def typed(name, value):
            try:
                return json.loads(value) if arguments.get(name) in ("int", "bool", "json", "list") and self.chance(0.7) else value
            except ValueError:
                return value
        kind = self.random.random()
        if kind < 0.75:
            values = {name: typed(name, value) for name, value in given.items()}
            headers["Content-Type"] = self.one(["application/json"] * 14 + ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.pgrst.object+json", "x/y"])
            if self.chance(0.03):
                return self.one([b"", b"{", b"{}", b"[]", b"nul", b"  ", b'{"a":1,}'])
            return json.dumps(values if self.chance(0.9) else self.one([[values], [values, values], [], [1], [values, {}]])).encode()
        if kind < 0.83:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return urllib.parse.urlencode(given).encode()
        if kind < 0.9 and given:
            headers["Content-Type"] = "text/csv"
            return (",".join(given) + "\n" + ",".join(v for v in given.values() if not set(v) & set(',"')) + "\n").encode()
        headers["Content-Type"] = self.one(["text/plain", "text/xml", "application/octet-stream"])
        return self.one([b"x", b"<a/>", b"1", b'{"a":1}', b"<a>", b""])

    def next(self):
        headers, rows = {}, self.chance(0.6)
        function = self.one(ROWS if rows else VALUES)
        arguments, columns = ROWS[function] if rows else (VALUES[function], {})
        # Of a HEAD PostgREST does not call every function.
        method = self.random.choices(["GET", "POST", "HEAD" if rows and function != "one_tool" else "GET", "OPTIONS", "PUT", "DELETE", "PATCH"], [55, 35, 6, 1, 1, 1, 1])[0]
        given = {name: self.one(TEXTS[kind] if self.chance(0.3) else TEXTS[kind][:3]) for name, kind in arguments.items() if self.chance(0.95)}
        if self.chance(0.04):
            given[self.one(["nope", "a", "id", "x y"])] = "1"
        parameters = self.shape(columns)
        for name, values, probability in (("Range", RANGES, 0.12), ("Prefer", PREFER, 0.15), ("Accept", ACCEPT, 0.2)):
            if self.chance(probability):
                headers[name] = self.one(values)
        if not parameters and self.chance(0.1):
            headers["Accept"] = "text/csv"
        body = b""
        if method == "POST":
            body = self.body(arguments, given, headers)
        else:
            parameters = list(given.items()) + parameters
        query = "&".join(urllib.parse.quote(n, safe="*(),.:!'-_~") + "=" + urllib.parse.quote(v, safe="*(),.:!'-_~") for n, v in parameters)
        return method, "/rpc/" + function + ("?" + query if query else ""), headers, body, self.chance(0.1)
