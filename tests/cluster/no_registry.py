#!/usr/bin/env python3
"""A registry that has nothing. Every pull on the test cluster is answered here, at once and in a registry's own words,
so that a wrong image name fails in a test as it does in the world, and no test leaves the machine.

Of a name that begins with "denied/", or whose registry does, it says that credentials are missing; one that begins with
"slow" is answered only after a minute. Usage: no_registry.py ADDRESS PORT [OWNER]"""

import http.server
import json
import sys
import time
from urllib.parse import parse_qs, urlsplit


class NoRegistry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        registry = parse_qs(url.query).get("ns", [""])[0]
        repository = url.path.removeprefix("/v2/")
        names = (registry, repository, repository.removeprefix("library/"))
        if any(name.startswith("slow") for name in names):
            time.sleep(60)
        if any(name.startswith("denied") for name in names):
            self.answer(403, "DENIED", "requested access to the resource is denied")
        else:
            self.answer(404, "MANIFEST_UNKNOWN", "manifest unknown")

    do_HEAD = do_GET

    def answer(self, status, code, message):
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), NoRegistry).serve_forever()
