"""Small repositories of every kind: apt's (whole, stale, from the future, signed with another key), rpm's, pip's,
npm's, git's, a registry's; and certificates that are not valid now. Keys are made for it and thrown away."""

import datetime
import gzip
import hashlib
import json
import os
import shutil
import subprocess

QUIET = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def deb(work, name, priority):
    tree = f"{work}/deb/{name}"
    write(f"{tree}/usr/share/doc/{name}/README", os.urandom(4096).hex())
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: amd64\nMaintainer: x <x@example.org>\n"
    write(f"{tree}/DEBIAN/control", control + f"Priority: {priority}\nDescription: {name}\n")
    file = f"{work}/{name}_1.0_amd64.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, file], **QUIET)
    return control + f"Priority: {priority}\nDescription: {name}\n", file


def key(work, name):
    home = f"{work}/gpg-{name}"
    os.makedirs(home, mode=0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--yes"]
    subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", f"{name}@example.org", "rsa2048", "sign", "1y"], **QUIET)
    subprocess.run([*gpg, "--output", f"{work}/{name}.gpg", "--export"], **QUIET)
    return gpg


def apt(work, site):
    good, other = key(work, "archive"), key(work, "other")
    packages = ""
    for name, priority in [("hello", "optional"), ("apt", "important"), ("base-files", "required"), ("usr-is-merged", "required")]:
        control, file = deb(work, name, priority)
        with open(file, "rb") as source:
            content = source.read()
        where = f"pool/{name}_1.0_amd64.deb"
        write(f"{site}/apt/{where}", content)
        packages += f"{control}Filename: {where}\nSize: {len(content)}\n"
        packages += f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n"
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    suites = {"bookworm": (now - day, now + 7 * day, good), "stale": (now - 20 * day, now - 10 * day, good),
              "future": (now + 2 * day, now + 9 * day, good), "foreign": (now - day, now + 7 * day, other),
              "syncing": (now - day, now + 7 * day, good)}
    for suite, (date, until, gpg) in suites.items():
        dists = f"{site}/apt/dists/{suite}"
        sums = ""
        for name, content in [("Packages", packages.encode()), ("Packages.gz", gzip.compress(packages.encode()))]:
            write(f"{dists}/main/binary-amd64/{name}", content + (b"\n" if suite == "syncing" else b""))
            sums += f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/{name}\n"
        form = "%a, %d %b %Y %H:%M:%S UTC"
        write(f"{dists}/Release", f"Origin: x\nLabel: x\nSuite: {suite}\nCodename: {suite}\nDate: {date.strftime(form)}\n"
              f"Valid-Until: {until.strftime(form)}\nArchitectures: amd64\nComponents: main\nSHA256:\n{sums}")
        subprocess.run([*gpg, "--output", f"{dists}/InRelease", "--clearsign", f"{dists}/Release"], **QUIET)
        subprocess.run([*gpg, "--output", f"{dists}/Release.gpg", "--armor", "--detach-sign", f"{dists}/Release"], **QUIET)


def rpm(work, site):
    spec = "Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n" \
           "%install\nmkdir -p %{buildroot}/opt\nhead -c 4096 /dev/urandom | base64 >%{buildroot}/opt/hello\n%files\n/opt/hello\n"
    write(f"{work}/hello.spec", spec)
    subprocess.run(["rpmbuild", "-bb", "--define", f"_topdir {work}/rpm", f"{work}/hello.spec"], **QUIET)
    os.makedirs(f"{site}/rpm")
    shutil.copy(f"{work}/rpm/RPMS/noarch/hello-1.0-1.noarch.rpm", f"{site}/rpm/")
    subprocess.run(["createrepo_c", f"{site}/rpm"], **QUIET)


def pip(work, site):
    name = "hello-1.0-py3-none-any.whl"
    write(f"{work}/wheel/hello/__init__.py", "# " + os.urandom(2048).hex())
    write(f"{work}/wheel/hello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
    write(f"{work}/wheel/hello-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    write(f"{work}/wheel/hello-1.0.dist-info/RECORD", "")
    shutil.make_archive(f"{work}/hello", "zip", f"{work}/wheel")
    with open(f"{work}/hello.zip", "rb") as source:
        content = source.read()
    write(f"{site}/pip/{name}", content)
    link = f'<!DOCTYPE html><a href="../{name}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a>\n'
    write(f"{site}/pip/hello/index.html", link)


def npm(work, site, base):
    write(f"{work}/npm/package/package.json", json.dumps({"name": "hello", "version": "1.0.0"}))
    write(f"{work}/npm/package/index.js", "// " + os.urandom(2048).hex())
    os.makedirs(f"{site}/npm/hello")
    file = f"{site}/npm/hello-1.0.0.tgz"
    subprocess.run(["tar", "-czf", file, "-C", f"{work}/npm", "package"], **QUIET)
    with open(file, "rb") as source:
        digest = hashlib.sha1(source.read()).hexdigest()
    for fault in ["ok", "429", "503", "cut", "reset", "damaged"]:
        dist = {"tarball": f"{base}/{fault}/packages/npm/hello-1.0.0.tgz", "shasum": digest}
        version = {"name": "hello", "version": "1.0.0", "dist": dist}
        page = {"name": "hello", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        write(f"{site}/npm/{fault}/hello", json.dumps(page))


def git(work, site):
    tree = f"{work}/git"
    write(f"{tree}/README", os.urandom(8192).hex())
    run = ["git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*run, "init"], **QUIET)
    subprocess.run([*run, "add", "."], **QUIET)
    subprocess.run([*run, "commit", "-m", "x"], **QUIET)
    subprocess.run(["git", "clone", "--bare", tree, f"{site}/repo.git"], **QUIET)
    subprocess.run(["git", "-C", f"{site}/repo.git", "repack", "-ad"], **QUIET)
    subprocess.run(["git", "-C", f"{site}/repo.git", "update-server-info"], **QUIET)


def registry(site):
    digests = []
    for content in [b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', gzip.compress(os.urandom(4096))]:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        write(f"{site}/v2/image/blobs/{digest}.blob", content)
        digests.append((digest, len(content)))
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    config, layer = ({"mediaType": media, "digest": digest, "size": size} for media, (digest, size) in zip(
        ["application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip"], digests))
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}
    write(f"{site}/v2/image/manifests/9", json.dumps(manifest))


def base_image(site):
    content = os.urandom(65536)
    write(f"{site}/image/base.tar.xz", content)
    write(f"{site}/image/SHA256SUMS", f"{hashlib.sha256(content + b'older').hexdigest()} *base.tar.xz\n")


def certificate(work, name, start):
    """One whose validity of 30 days begins so many days from now."""
    subprocess.run(["faketime", "-f", f"{start:+d}d", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-addext", "basicConstraints=critical,CA:TRUE",
                    "-keyout", f"{work}/{name}.key", "-out", f"{work}/{name}.crt"], **QUIET)
