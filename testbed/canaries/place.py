"""A directory of its own for each image, with its schedule and its state, and the program under test in it."""

import base64
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
ELEMENTS = ["debian-minimal", "vm", "cloud-init-custom", "agent-install"]
RELEASES = {"debian-12": "bookworm", "debian-13": "trixie"}
# Of the users. Nobody has its private half.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC canaries@example"
# What does not stay of a place that is kept: images, and the key of its manager.
BULKY = ["tls", "images", "scratch", "cache", "bases", "servers", "stand-ins"]

SCHEDULE = """\
[schedule.{name}]
publish = {{ name = "{name}" }}

[schedule.{name}.server]
memory = "1 GiB"
disk   = "4 GiB"
{server}

[schedule.{name}.image]
elements = [{elements}]
format   = "raw"
users    = [{{ name = "ops", sudo = true, groups = ["adm"], ssh_authorized_keys = ["{key}"] }}]
ssh_authorized_keys = ["{key}"]
{image}

[schedule.{name}.image.environment]
DIB_RELEASE = "{release}"
{environment}

[schedule.{name}.checks]
{checks}

[schedule.{name}.timeouts]
build  = "40m"
boot   = "{boot}"
verify = "30m"
total  = "100m"
"""
# Programs that run, so that an interrupt ends them all.
RUNNING = set()
STOPPING = threading.Event()


class Trouble(Exception):
    """Something is in the way of an answer: no word about an image or about the product."""


def program():
    return pathlib.Path(os.environ.get("IMAGE_MANAGER_PROGRAM", REPOSITORY / "target/release/image-manager"))


def agent():
    if "IMAGE_MANAGER_AGENT" in os.environ:
        return pathlib.Path(os.environ["IMAGE_MANAGER_AGENT"])
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    triple = next(line.split()[1] for line in host.splitlines() if line.startswith("host:"))
    return REPOSITORY / f"target/{triple}/agent/image-manager-agent"


@functools.cache
def kinds():
    """The kinds of checks that the product has, each with its set: None for those that are in none."""
    asked = subprocess.run([program(), "checks", "--format", "json"], capture_output=True, text=True, timeout=60)
    if asked.returncode != 0:
        raise Trouble(f"{program()} does not tell its checks: {asked.stderr.strip()}")
    return {check["kind"]: check["set"] for check in json.loads(asked.stdout)}


def set_for(kinds_):
    """The smallest set that has the first of these kinds, and is no smaller than what a user gets without a word."""
    return "thorough" if "thorough" in [kinds().get(kind) for kind in kinds_[:1]] else "cloud"


def checks(set_, more=""):
    """The lines of the table `checks`. What the product does not know yet it cannot be asked: that is found nowhere."""
    return "\n".join([f'set = "{set_}"'] + [line for line in more.splitlines() if key(line) in kinds()])


def key(line):
    return line.split("=")[0].split(".")[0].strip()


def canary(image, program):
    """What the stand-in for disk-image-builder is told: the good image, and what to run in it."""
    return {"CANARY_BASE": str(image), "CANARY_FAULT": base64.b64encode(program.encode()).decode()}


def toml(text):
    """A string of TOML; JSON's escapes are TOML's too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class Place:
    """Goes with everything in it at the end, but for what `keep` names, a directory."""

    def __init__(self, name, keep=None):
        self.name, self.keep = name, keep

    def __enter__(self):
        # Not below /home or /root, which builds do not see.
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"image-manager-canary-{self.name}.", dir="/var/tmp"))
        self.path.chmod(0o711)
        self.state = self.path / "state"
        return self

    def __exit__(self, *_):
        if self.keep:
            kept = self.keep / self.name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.path, kept, ignore=self.bulky, symlinks=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def bulky(self, directory, _):
        return BULKY if pathlib.Path(directory) == self.state else []

    def schedule(self, distribution, checks, image="", server="", boot="15m", environment=None):
        """Writes the schedule of a Debian; `environment` is that of its build."""
        text = SCHEDULE.format(
            name=self.name,
            elements=", ".join(map(toml, ELEMENTS)),
            key=KEY,
            image=image,
            server=server,
            release=RELEASES[distribution],
            environment="\n".join(f"{name} = {toml(value)}" for name, value in (environment or {}).items()),
            checks=checks,
            boot=boot,
        )
        self.write(text)

    def write(self, schedules):
        (self.path / "schedules.toml").write_text(schedules)

    def start(self, *arguments, **environment):
        """Starts the program here; its output goes to a file."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("IMAGE_MANAGER_")}
        own |= {
            "IMAGE_MANAGER_AGENT": str(agent()),
            "IMAGE_MANAGER_ELEMENTS": str(REPOSITORY / "elements"),
            "IMAGE_MANAGER_STATE": str(self.state),
            "NO_COLOR": "1",
        } | environment
        with open(self.path / "output", "ab") as output:
            return subprocess.Popen(
                [program(), *arguments], cwd=self.path, env=own, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )

    def run(self, *arguments, limit, **environment):
        """Runs the program to its end; None when there is none within the limit."""
        if STOPPING.is_set():
            raise Trouble("interrupted")
        process = self.start(*arguments, **environment)
        RUNNING.add(process)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            end(process)
            return None
        except BaseException:
            end(process)
            raise
        finally:
            RUNNING.discard(process)

    def latest(self):
        """The newest build as JSON, or None."""
        shown = subprocess.run(
            [program(), "show", "latest", "--format", "json", "--state", self.state],
            cwd=self.path, capture_output=True, timeout=120,
        )
        return json.loads(shown.stdout) if shown.returncode == 0 else None

    def output(self):
        file = self.path / "output"
        return file.read_text(errors="replace") if file.exists() else ""


def end_all():
    """Ends whatever runs, and lets nothing begin any more."""
    STOPPING.set()
    for process in list(RUNNING):
        process.send_signal(signal.SIGINT)


def end(process):
    """As Ctrl-C does it, and the hard way when that takes too long."""
    for number, patience in [(signal.SIGINT, 120), (signal.SIGKILL, 30)]:
        process.send_signal(number)
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
