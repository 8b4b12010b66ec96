"""What is done to a server while it boots and is asked: none of it is the image's fault."""

import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

# Longest that QEMU, or a program, may take for an answer, in seconds.
ANSWER = 20
BURN = "while True: pass"


def servers(state):
    """The QEMUs of a state directory, by pid. Its path is an argument of theirs, and they are no shell around one."""
    found = {}
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (process / "cmdline").read_bytes().split(b"\0")
                program = os.path.basename(arguments[0]).decode(errors="replace")
                if program.startswith("qemu-system-") and any(str(state).encode() in one for one in arguments):
                    found[int(process.name)] = arguments[arguments.index(b"-name") + 1].decode()
    return found


def paused(server, chance, stop):
    """QEMU stands still, as on a host that swaps."""
    seconds = chance.uniform(2, 15)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        stop.wait(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGCONT)
    return f"paused {seconds:.0f} s"


def slow_disk(server, chance, stop):
    """Its disk is slow, by QEMU's own throttle."""
    megabytes, seconds = chance.choice([1, 2, 4]), chance.uniform(10, 40)
    limits = {name: 0 for name in ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"]}
    server.order("block_set_io_throttle", **{**limits, "id": server.disk(), "bps": megabytes * 1000000})
    try:
        stop.wait(seconds)
    finally:
        with contextlib.suppress(OSError):
            server.order("block_set_io_throttle", **{**limits, "id": server.disk()})
    return f"disk with {megabytes} MB/s for {seconds:.0f} s"


def lost_packets(server, chance, stop):
    """Packets that come into its network are lost."""
    percent, seconds = chance.choice([2, 5, 10]), chance.uniform(10, 60)
    # With the namespace, or before it.
    server.in_network("add", "table", "inet", "canary")
    server.in_network("add", "chain", "inet", "canary", "in", "{ type filter hook input priority 0; }")
    server.in_network(
        "add", "rule", "inet", "canary", "in", "numgen", "random", "mod", "100", "<", str(percent), "drop"
    )
    try:
        stop.wait(seconds)
    finally:
        with contextlib.suppress(OSError):
            server.in_network("delete", "table", "inet", "canary")
    return f"{percent} % of packets lost for {seconds:.0f} s"


def busy_host(_, chance, stop):
    """This host has more to do than it can."""
    seconds, count = chance.uniform(10, 40), 2 * (os.cpu_count() or 1)
    burners = [subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        stop.wait(seconds)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    return f"{count} other processes for {seconds:.0f} s"


ALL = [paused, slow_disk, lost_packets, busy_host]


class Server:
    def __init__(self, state, pid, name):
        self.pid, self.sockets = pid, state / "servers" / name / "sockets"

    def order(self, command, **arguments):
        """An order by QEMU's machine protocol. The path of a socket has 107 bytes at most: this way it is short."""
        directory = os.open(self.sockets, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as stream:
                stream.settimeout(ANSWER)
                stream.connect(f"/proc/self/fd/{directory}/qmp.sock")
                with stream.makefile("rw") as lines:
                    lines.readline()
                    for name, given in [("qmp_capabilities", {}), (command, arguments)]:
                        lines.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                        lines.flush()
                        while "event" in (answer := json.loads(lines.readline() or '{"error": "no answer"}')):
                            pass
        finally:
            os.close(directory)
        if "return" not in answer:
            raise OSError(f"QEMU refuses {command}: {answer.get('error')}")
        return answer["return"]

    def disk(self):
        return next(one["qdev"] for one in self.order("query-block") if one["device"] == "disk")

    def in_network(self, *arguments):
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self.pid}/ns/net", "nft", *arguments], capture_output=True, text=True, timeout=ANSWER
        )
        if done.returncode != 0:
            raise OSError(f"nft {arguments[0]}: {done.stderr.strip()}")


class Disturbance(threading.Thread):
    """Disturbs the servers of a state directory, one thing after the other, until it is told to end."""

    def __init__(self, state, seed, calm):
        super().__init__(daemon=True)
        # `calm`: the longest time without a disturbance, in seconds.
        self.state, self.chance, self.calm = state, random.Random(seed), calm
        # What was done, in words and by name; and what was to be done and did not work.
        self.done, self.names, self.troubles = [], [], []
        self.stop = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join(2 * ANSWER)

    def run(self):
        while not self.stop.wait(0.5):
            for pid, name in servers(self.state).items():
                # Some early, some late, some while it is asked.
                if self.stop.wait(self.chance.uniform(0, self.calm)):
                    return
                disturb = self.chance.choice(ALL)
                began = time.monotonic()
                try:
                    self.done.append(disturb(Server(self.state, pid, name), self.chance, self.stop))
                    self.names.append(disturb.__name__.replace("_", " "))
                except (OSError, ValueError, StopIteration, subprocess.SubprocessError) as error:
                    # The server may have ended meanwhile.
                    if pid in servers(self.state):
                        self.troubles.append(f"{disturb.__name__} after {time.monotonic() - began:.0f} s: {error}")
