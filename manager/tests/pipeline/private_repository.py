"""An apt repository behind a password on loopback, for private_repository.rs.

private_repository.py DIRECTORY: makes a package, signs the repository with a key of its own, leaves the key in
DIRECTORY/key.asc, and serves it to whoever has the `user:password` of DIRECTORY/password; writes its port to
DIRECTORY/port. Each request is a line of DIRECTORY/requests: status, path. Ends with its standard input.
"""
import base64
import hashlib
import http.server
import os
import pathlib
import subprocess
import sys
import threading

place = pathlib.Path(sys.argv[1])
root = place / "repository"
packages = root / "dists/stable/main/binary-all"
password = (place / "password").read_text().strip()

tree = place / "tree"
(tree / "DEBIAN").mkdir(parents=True)
(tree / "usr/share/our-tool").mkdir(parents=True)
(tree / "usr/share/our-tool/word").write_text("canary-of-the-private-package\n")
control = "Package: our-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: Us <us@example.org>\nDescription: ours\n"
(tree / "DEBIAN/control").write_text(control)
(root / "pool").mkdir(parents=True)
packages.mkdir(parents=True)
debian = root / "pool/our-tool_1.0_all.deb"
build = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(debian)]
subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
data = debian.read_bytes()
digest = hashlib.sha256(data).hexdigest()
listed = f"{control}Filename: pool/{debian.name}\nSize: {len(data)}\nSHA256: {digest}\n\n".encode()
(packages / "Packages").write_bytes(listed)
release = (
    "Origin: Us\nSuite: stable\nCodename: stable\nArchitectures: all amd64 arm64\nComponents: main\n"
    "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
    f" {hashlib.sha256(listed).hexdigest()} {len(listed)} main/binary-all/Packages\n"
)
(root / "dists/stable/Release").write_text(release)

home = place / "gnupg"
home.mkdir(mode=0o700)


def gpg(*arguments):
    command = ["gpg", "--batch", "--quiet", "--homedir", str(home), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


gpg("--passphrase", "", "--quick-generate-key", "us@example.org", "rsa3072", "sign", "never")
(place / "key.asc").write_bytes(gpg("--armor", "--export"))
inline = str(root / "dists/stable/InRelease")
gpg("--clearsign", "--output", inline, str(root / "dists/stable/Release"))
subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


class Repository(http.server.SimpleHTTPRequestHandler):
    wanted = "Basic " + base64.b64encode(password.encode()).decode()

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=str(root))

    def do_GET(self):
        if self.headers.get("Authorization") == self.wanted:
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="ours"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_request(self, code="-", size="-"):
        with open(place / "requests", "a", encoding="utf-8") as file:
            file.write(f"{int(code)} {self.path}\n")

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
threading.Thread(target=server.serve_forever, daemon=True).start()
(place / "port.partial").write_text(str(server.server_port))
os.rename(place / "port.partial", place / "port")
sys.stdin.read()
