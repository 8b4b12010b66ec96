"""A server on loopback that misbehaves in one chosen way, for programs that download.

An address is /<fault>/<what>/<path>: <path> is a file below the served directory, the fault befalls it when it is
one of <what>: "all", or "packages" (what package managers call so), or "indexes" (everything else). A fault is

  ok           none                     429, 500, 503, 404   that status
  cut          half of the body, though the length of all of it was announced
  reset        half of the body, then a reset of the connection
  damaged      all of the body, with its last byte changed
  longer       all of the body and a line more

A container registry answers below /v2/<fault>/<what>/; its images are the files in <directory>/v2.
"""

import http.server
import json
import os
import socket
import ssl
import struct
import threading

PACKAGES = (".deb", ".rpm", ".whl", ".tgz", ".pack", ".blob")
REASONS = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable", 404: "Not Found"}
LIMIT = "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        registry = path.startswith("/v2/")
        if path == "/v2/":
            return self.answer(200, b"{}", "application/json")
        parts = path.removeprefix("/v2").lstrip("/").split("/", 2)
        fault, what, rest = (parts + ["", "", ""])[:3]
        file = os.path.join(self.server.directory, "v2" if registry else "", rest)
        if registry and "/blobs/" in rest:
            file += ".blob"
        package = file.endswith(PACKAGES)
        if what == "packages" and not package or what == "indexes" and package:
            fault = "ok"
        if fault.isdigit():
            code = int(fault)
            body = REASONS[code].encode() + b"\n"
            if registry and code == 429:
                body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": LIMIT}]}).encode()
            return self.answer(code, body, "application/json" if registry else "text/plain")
        if os.path.isdir(file):
            file = os.path.join(file, "index.html")
        if not os.path.isfile(file):
            return self.answer(404, b"Not Found\n", "text/plain")
        with open(file, "rb") as source:
            body = source.read()
        self.deliver(fault, body, file, registry)

    def deliver(self, fault, body, file, registry):
        kind = "text/html" if file.endswith(".html") else "application/octet-stream"
        if registry and "/manifests/" in file:
            kind = "application/vnd.docker.distribution.manifest.v2+json"
        if file.endswith(".json"):
            kind = "application/json"
        if fault == "damaged":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault == "longer":
            body += b"\n"
        if fault not in ("cut", "reset"):
            return self.answer(200, body, kind)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        if self.command == "HEAD":
            return None
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        return None

    def answer(self, code, body, kind):
        self.send_response(code, REASONS.get(code))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


def start(directory, certificate=None, key=None):
    """Serves a directory on a free port of loopback, over TLS with a certificate; returns the server."""
    server = Server(("127.0.0.1", 0), Handler)
    server.directory = directory
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
