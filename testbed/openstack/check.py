"""What check does, with nothing but Python's standard library and the APIs. Called by check."""
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HOME, STATE, PREFIX, PID = sys.argv[1:]
API, VM_HOST = f"{PREFIX}.1.2", f"{PREFIX}.0.1"
GLANCE, NOVA, NEUTRON = f"http://{API}:9292/v2", f"http://{API}:8774/v2.1", f"http://{API}:9696/v2.0"
RC = dict(line.removeprefix("export ").rstrip("\n").split("=", 1) for line in open(f"{STATE}/openrc"))
ADMIN = dict(line.removeprefix("export ").rstrip("\n").split("=", 1) for line in open(f"{STATE}/adminrc"))
began = time.monotonic()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(text):
    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)


def expect(truth, text):
    say(("ok    " if truth else "WRONG ") + text)
    if not truth:
        sys.exit(1)


def wait_for(what, seconds, text):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            expect(False, f"{text}: not within {seconds} s")
        time.sleep(0.5)
    return found


class Cloud:
    def __init__(self, rc):
        domain = {"name": "Default"}
        answer = self.call("POST", f"http://{API}:5000/v3/auth/tokens", {"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": rc["OS_USERNAME"], "password": rc["OS_PASSWORD"], "domain": domain}}},
            "scope": {"project": {"name": rc["OS_PROJECT_NAME"], "domain": domain}}}}, whole=True)
        self.token = answer.headers["X-Subject-Token"]

    token = ""

    def call(self, method, url, body=None, kind="application/json", missing=None, whole=False):
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        request = urllib.request.Request(url, data, {
            "X-Auth-Token": self.token, "Content-Type": kind, "X-OpenStack-Nova-API-Version": "2.79"}, method=method)
        if hasattr(data, "fileno"):
            request.add_header("Content-Length", str(os.fstat(data.fileno()).st_size))
        try:
            answer = opener.open(request, timeout=120)
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing is not None:
                return missing
            expect(False, f"{method} {url}: {error.code} {error.read().decode(errors='replace')[:400]}")
        if whole:
            return answer
        text = answer.read()
        return json.loads(text) if text else {}


class Listener:
    """Collects a line from each guest that connects."""
    def __init__(self):
        self.lines, self.server = {}, socket.create_server((VM_HOST, 0))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            guest, _ = self.server.accept()
            with guest, guest.makefile() as lines:
                token, *rest = lines.readline().split() or [""]
                self.lines[token] = rest


def inside(*command):
    return subprocess.run(["nsenter", "-t", PID, "--mount", "--net", "--pid", "--root", "--wd", "--", *command],
                          capture_output=True, text=True, timeout=60).stdout.split()


def left(admin, image, servers):
    """What of it is still there, in the cloud and on the machine."""
    found = [f"image {i['id']}" for i in admin.call("GET", f"{GLANCE}/images?limit=1000")["images"] if i["id"] == image]
    domains = inside("virsh", "-c", "qemu:///system", "list", "--all", "--uuid")
    for server in servers:
        found += [f"server {server}"] * (admin.call("GET", f"{NOVA}/servers/{server}", missing="gone") != "gone")
        found += [f"port {p['id']}" for p in admin.call("GET", f"{NEUTRON}/ports?device_id={server}")["ports"]]
        found += [f"VM {server}"] * (server in domains)
        found += [p for p in [f"{STATE}/nova/instances/{server}"] if os.path.exists(p)]
    return found + [p for p in [f"{STATE}/glance/images/{image}"] if os.path.exists(p)]


def main():
    tenant, admin = Cloud(RC), Cloud(ADMIN)
    name, listener, servers, image = f"lab-check-{os.getpid()}", Listener(), {}, None
    flavor = next(f["id"] for f in tenant.call("GET", f"{NOVA}/flavors")["flavors"] if f["name"] == "lab.tiny")
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/tiny.qcow2"
        made = subprocess.run([f"{HOME}/../tiny-image/build", "-o", file, "-a", f"{HOME}/inside/guest"],
                              capture_output=True, text=True)
        expect(made.returncode == 0, f"made the tiny image {'' if made.returncode == 0 else made.stderr}")
        try:
            image = tenant.call("POST", f"{GLANCE}/images", {
                "name": name, "disk_format": "qcow2", "container_format": "bare", "visibility": "private"})["id"]
            with open(file, "rb") as content:
                tenant.call("PUT", f"{GLANCE}/images/{image}/file", content, "application/octet-stream")
            status = tenant.call("GET", f"{GLANCE}/images/{image}")["status"]
            expect(status == "active", f"uploaded it: {status}")
            boot(tenant, name, image, flavor, listener, servers)
        finally:
            for server in servers:
                tenant.call("DELETE", f"{NOVA}/servers/{server}", missing={})
            for server in servers:
                wait_for(lambda: tenant.call("GET", f"{NOVA}/servers/{server}", missing="gone") == "gone", 60, "server gone")
            if image:
                tenant.call("DELETE", f"{GLANCE}/images/{image}", missing={})
    wait_for(lambda: not left(admin, image, servers), 20, "removal")
    say("ok    nothing is left of it")


def boot(tenant, name, image, flavor, listener, servers):
    for drive in True, False:
        token = secrets.token_hex(8)
        answer = tenant.call("POST", f"{NOVA}/servers", {"server": {
            "name": name, "imageRef": image, "flavorRef": flavor, "networks": [{"uuid": RC["LAB_NETWORK_ID"]}],
            "config_drive": drive, "metadata": {
                "lab_check_endpoint": f"{VM_HOST}:{listener.server.getsockname()[1]}",
                "lab_check_api": f"{API} 5000", "lab_check_token": token}}})
        servers[answer["server"]["id"]] = (token, "drive" if drive else "service", time.monotonic())

    for server, (token, source, start) in servers.items():
        def settled():
            now = tenant.call("GET", f"{NOVA}/servers/{server}")["server"]
            return now if now["status"] in ("ACTIVE", "ERROR") else None

        def console():
            return tenant.call("POST", f"{NOVA}/servers/{server}/action", {"os-getConsoleOutput": {}})["output"] or ""

        now = wait_for(settled, 180, "ACTIVE")
        expect(now["status"] == "ACTIVE", f"server ({source}) is {now['status']} {time.monotonic() - start:.1f} s after its "
               f"creation {now.get('fault', {}).get('message', '')}")
        wait_for(lambda: "tiny: ready" in console(), 120, "tiny: ready on the console")
        say(f"ok    it is ready {time.monotonic() - start:.1f} s after its creation")
        deadline = time.monotonic() + 90
        while token not in listener.lines:
            if time.monotonic() > deadline:
                print("".join(f"          | {line}\n" for line in console().splitlines()[-30:]))
                expect(False, "word from the guest over TCP: not within 90 s")
            time.sleep(0.2)
        address = now["addresses"][RC["LAB_NETWORK"]][0]["addr"]
        expected = [f"{address}/24", VM_HOST, source, "same", "closed"]
        expect(listener.lines[token] == expected, f"it says over TCP, {time.monotonic() - start:.1f} s after its creation: its address, "
               f"manager.lab's, where its metadata is from, the service agrees, the APIs: {' '.join(listener.lines[token])}")


main()
