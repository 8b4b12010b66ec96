"""Opens requests whose bodies never end, as many as it may, on two HTTP/2 connections, and keeps to their windows.

Prints how many streams were opened, refused, answered and reset.
usage: open_bodies.py HOST:PORT SECONDS [TOKEN]
"""

import socket
import struct
import sys
import threading
import time

METHOD = "/image_manager.v1.ImageManager/TriggerBuild"
STREAMS = 100
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Connection:
    def __init__(self, address, token):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.lock = threading.Condition()
        self.windows = {0: 65535}
        self.initial = 65535
        self.largest = None
        self.opened = self.answered = self.reset = 0
        self.over = False
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        threading.Thread(target=self.read, daemon=True).start()
        with self.lock:
            self.lock.wait_for(lambda: self.over or self.largest is not None, 10)
        block = literal(":method", "POST") + literal(":scheme", "http") + literal(":path", METHOD)
        block += literal(":authority", address) + literal("content-type", "application/grpc") + literal("te", "trailers")
        if token:
            block += literal("authorization", f"Bearer {token}")
        self.block = block

    def open(self):
        for number in range(STREAMS):
            stream = 2 * number + 1
            with self.lock:
                self.windows[stream] = self.initial
            self.send(frame(HEADERS, 4, stream, self.block))
            self.opened += 1
            # The beginning of a message of a mebibyte.
            self.data(stream, b"\x00" + struct.pack(">I", 1 << 20))

    def fill(self, until):
        while time.monotonic() < until and not self.over:
            for stream in [stream for stream in list(self.windows) if stream]:
                self.data(stream, b"x" * 8192)
            time.sleep(0.05)

    def data(self, stream, payload):
        with self.lock:
            room = min(self.windows[0], self.windows.get(stream, 0), len(payload))
            if room <= 0:
                return
            self.windows[0] -= room
            self.windows[stream] -= room
        self.send(frame(DATA, 0, stream, payload[:room]))

    def send(self, whole):
        try:
            self.socket.sendall(whole)
        except OSError:
            self.over = True

    def exactly(self, length):
        got = b""
        while len(got) < length:
            part = self.socket.recv(length - len(got))
            if not part:
                raise OSError("closed")
            got += part
        return got

    def read(self):
        try:
            while True:
                head = self.exactly(9)
                length = struct.unpack(">I", b"\0" + head[:3])[0]
                kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0] & 0x7FFFFFFF
                payload = self.exactly(length)
                with self.lock:
                    self.take(kind, flags, stream, payload)
                    self.lock.notify_all()
        except OSError:
            with self.lock:
                self.over = True
                self.lock.notify_all()

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & 1:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == 4:
                    self.initial = value
                if name == 3:
                    self.largest = value
            self.largest = self.largest or 0
            self.send(frame(SETTINGS, 1, 0))
        elif kind == PING and not flags & 1:
            self.send(frame(PING, 1, 0, payload))
        elif kind == WINDOW:
            self.windows[stream] = self.windows.get(stream, 0) + struct.unpack(">I", payload)[0]
        elif kind == HEADERS:
            self.answered += 1
        elif kind == RST:
            self.reset += 1
            self.windows.pop(stream, None)
        elif kind == GOAWAY:
            self.over = True


def main():
    address, seconds = sys.argv[1], float(sys.argv[2])
    token = sys.argv[3] if len(sys.argv) > 3 else ""
    both = [Connection(address, token) for _ in range(2)]
    until = time.monotonic() + seconds
    for connection in both:
        connection.open()
    threads = [threading.Thread(target=connection.fill, args=(until,)) for connection in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    most = max(connection.largest or 0 for connection in both)
    count = lambda what: sum(getattr(connection, what) for connection in both)
    print(f"streams={most} opened={count('opened')} answered={count('answered')} reset={count('reset')}")


main()
