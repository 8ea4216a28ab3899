"""A browser's part of a login: cookies, redirects and forms, in a few lines. It runs no scripts."""
import html.parser
import re
import urllib.parse

from harness.keycloak import request


class _Forms(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append({"action": attrs.get("action") or "", "method": (attrs.get("method") or "get").upper(), "fields": {}})
        elif tag == "input" and self.forms and attrs.get("name") and attrs.get("type") not in ("submit", "checkbox", "image"):
            self.forms[-1]["fields"][attrs["name"]] = attrs.get("value") or ""


class Browser:
    """Keeps cookies per host, port and path. Secure cookies go to loopback without TLS too, as browsers do."""

    def __init__(self):
        self.cookies = {}
        self.url = None
        self.page = None

    def ask(self, method, url, form=None, headers=None):
        """One request without following; keeps what Set-Cookie says."""
        where = urllib.parse.urlsplit(url)
        jar = self.cookies.setdefault(where.netloc, {})
        headers = dict(headers or {})
        sent = [f"{name}={value}" for (name, path), value in jar.items() if where.path.startswith(path)]
        if sent:
            headers["Cookie"] = "; ".join(sent)
        answer = request(method, url, form, headers=headers)
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";")[0].partition("=")
            path = re.search(r";\s*path=([^;\s]+)", line, re.I)
            key = (name.strip(), path.group(1) if path else "/")
            if not value or re.search(r";\s*max-age=0", line, re.I):
                jar.pop(key, None)
            else:
                jar[key] = value
        self.url, self.page = url, answer
        return answer

    def go(self, method, url, form=None, headers=None, stop=None, hops=10):
        """Follows redirects; stops before the address that begins with stop, and returns it then."""
        for _ in range(hops):
            answer = self.ask(method, url, form, headers)
            where = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not where:
                return answer
            url = urllib.parse.urljoin(url, where)
            if stop and url.startswith(stop):
                return url
            method, form, headers = "GET", None, None
        raise RuntimeError(f"more than {hops} redirects, the last to {url}")

    def submit(self, values, stop=None):
        """Sends the first form of the page with these values filled in."""
        parser = _Forms()
        parser.feed(self.page.text)
        if not parser.forms:
            raise RuntimeError(f"no form at {self.url}: {self.page.status} {self.page.text[:500]}")
        form = parser.forms[0]
        return self.go(form["method"], urllib.parse.urljoin(self.url, form["action"]), {**form["fields"], **values}, stop=stop)
