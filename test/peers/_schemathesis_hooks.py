"""What schemathesis checks besides its own: no answer is a server error, but 501 for a method that no route has (RFC 9110, 9.1: QUERY, TRACE)."""
import schemathesis

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@schemathesis.check
def no_server_error(ctx, response, case):
    if response.status_code == 501 and case.method.upper() not in METHODS:
        return
    if response.status_code >= 500:
        raise AssertionError(f"{case.method} {case.path}: status {response.status_code}: {response.text[:500]}")
