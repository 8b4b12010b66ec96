"""A mirror on another host, as far as servers can tell, that answers 503 now and then.

An address is http://MIRROR/HOST/PATH: what is there is what http://HOST/PATH has. It listens in a network namespace of its
own, at the other end of a pair of links, since servers on `local` do not reach this host's own addresses. Links and
namespace go with the thread that holds them.
"""

import contextlib
import ctypes
import http.client
import http.server
import os
import random
import socket
import subprocess
import threading
import urllib.error
import urllib.request

CLONE_NEWNET = 0x40000000
# One request in so many is refused.
ONE_IN = 4
PATIENCE = 60
TRIES = 20


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = PATIENCE

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.server.asked += 1
        if self.server.chance.randrange(ONE_IN) == 0:
            self.server.refused += 1
            self.send_error(503)
            return
        request = urllib.request.Request("http:/" + self.path, method=self.command)
        for header in ["Range", "If-Modified-Since", "If-Range"]:
            if self.headers[header]:
                request.add_header(header, self.headers[header])
        try:
            with contextlib.closing(urllib.request.urlopen(request, timeout=PATIENCE)) as there:
                self.pass_on(there.status, there, body)
        except urllib.error.HTTPError as error:
            self.pass_on(error.code, error, body)
        except (OSError, http.client.HTTPException) as error:
            self.send_error(504, explain=str(error))

    def pass_on(self, code, there, body):
        self.send_response(code)
        for header in ["Content-Length", "Content-Type", "Content-Range", "Last-Modified"]:
            if there.headers[header]:
                self.send_header(header, there.headers[header])
        self.end_headers()
        while body and (block := there.read(1 << 16)):
            self.wfile.write(block)


class Mirror(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener, seed):
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.chance, self.asked, self.refused = random.Random(seed), 0, 0

    def handle_error(self, *_):
        """Whoever asks may go at any time."""


def call(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def free_network():
    """Of the addresses for benchmarks of networks (RFC 2544), which nobody routes: this host's and the other's."""
    for _ in range(TRIES):
        third, fourth = random.randrange(256), random.randrange(64) * 4
        here, there = (f"198.18.{third}.{fourth + end}" for end in (1, 2))
        routed = subprocess.run(
            ["ip", "-4", "route", "show", "root", f"{there}/30"], capture_output=True, text=True, timeout=60
        )
        if not routed.stdout.strip():
            return here, there
    raise OSError(f"no free network in 198.18.0.0/16 after {TRIES} tries")


def listen():
    """A socket that listens in a new network namespace, which is there for as long as the socket is."""
    here, there = free_network()
    link = f"imc{os.getpid()}"
    entered, linked, done = threading.Event(), threading.Event(), []

    def inside():
        # This thread alone changes its namespace, and what it starts is in it too.
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no network namespace")
            entered.set()
            if linked.wait(PATIENCE):
                call("ip", "addr", "add", f"{there}/30", "dev", "host0")
                call("ip", "link", "set", "host0", "up")
                done.append(socket.create_server((there, 80), backlog=64))
        except (OSError, subprocess.SubprocessError) as error:
            done.append(error)
        finally:
            entered.set()

    thread = threading.Thread(target=inside, daemon=True)
    thread.start()
    entered.wait(PATIENCE)
    if not done:
        call("ip", "link", "add", link, "type", "veth", "peer", "name", "host0", "netns", str(thread.native_id))
        call("ip", "addr", "add", f"{here}/30", "dev", link)
        call("ip", "link", "set", link, "up")
        linked.set()
    thread.join(PATIENCE)
    if not done or isinstance(done[0], Exception):
        raise OSError(f"no other host for a mirror: {done[0] if done else 'no answer'}")
    return done[0]


def start(seed):
    """A mirror that answers until this process ends; what it was asked is counted in it."""
    mirror = Mirror(listen(), seed)
    threading.Thread(target=mirror.serve_forever, daemon=True).start()
    return mirror
