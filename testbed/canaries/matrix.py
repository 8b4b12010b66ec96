"""The matrix: what may be wrong with an image, and what must be said of it.

Each file of the directory `matrix` has the faults that one kind of check must find. A table is one image:

    [sshd-masked]
    broken = "the service ssh is masked"     one sentence
    script = "systemctl mask ssh.service"    run in the image, as root, by its /bin/sh with -eu, after prelude.sh
    says = "mask"                            a regular expression: the first line of what is said must have it in it

and, where it is needed,

    check = "dns disk"    kinds of checks of which one must find it: the name of the file, unless it is said here
    reason = "..."        the build's reason, where no check can find it: nobody is there to ask
    good = true           nothing is broken: the image must pass
    checks = "..."        lines of TOML for the table `checks` of its schedule
    image = "..."         the same for `image`
    server = "..."        the same for `server`
    beside = "..."        a file of this name beside its schedules.toml, for checks that read one
    boot = "4m"           how long its agent is waited for
"""

import dataclasses
import pathlib
import re
import subprocess
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
DIRECTORY, PRELUDE = HERE / "matrix", HERE / "prelude.sh"
KINDS = frozenset(
    "artifact boot_time cloud_init commands console disk dns files guest_agent identity internet kernel metadata "
    "network package_manager packages poweroff reboot script services ssh time users".split()
)
MOST = 500
# So many faults there must be.
LEAST = 40


class Mistake(Exception):
    """Something in the matrix is not as it must be."""


@dataclasses.dataclass(frozen=True)
class Canary:
    name: str
    broken: str = ""
    script: str = ""
    says: str = ""
    check: str = ""
    reason: str = "check_failed"
    good: bool = False
    checks: str = ""
    image: str = ""
    server: str = ""
    beside: str = ""
    boot: str = "15m"

    @property
    def expected(self):
        """The first of what must be seen, in one word."""
        return "passes" if self.good else (self.kinds or [self.reason])[0]

    @property
    def kinds(self):
        """Of the checks of which one must find it."""
        return self.check.split()

    @property
    def program(self):
        """What is run in the image; empty: nothing."""
        return f"{PRELUDE.read_text()}\n{self.script}" if self.script else ""


def read(directory=DIRECTORY):
    """All canaries, the good ones first; each name once."""
    found = {}
    for file in sorted(directory.glob("*.toml")):
        with open(file, "rb") as stream:
            try:
                tables = tomllib.load(stream)
            except tomllib.TOMLDecodeError as error:
                raise Mistake(f"{file}: {error}") from None
        for name, table in tables.items():
            if name in found:
                raise Mistake(f"{file}: [{name}] is there twice")
            found[name] = canary(file, name, table)
    if len(found) > MOST:
        raise Mistake(f"{directory}: {len(found)} canaries, and at most {MOST} are meant")
    return sorted(found.values(), key=lambda one: not one.good)


def canary(file, name, table):
    where = f"{file}: [{name}]"
    fields = {field.name for field in dataclasses.fields(Canary)} - {"name"}
    for key, value in table.items():
        if key not in fields:
            raise Mistake(f"{where}: unknown key {key}; known: {', '.join(sorted(fields))}")
        if not isinstance(value, bool if key == "good" else str):
            raise Mistake(f"{where}: {key} must be {'true or false' if key == 'good' else 'a string'}")
    if not table.get("broken"):
        raise Mistake(f"{where}: it must say what is broken, or what is special about a good one")
    table = dict(table)
    if not table.get("good"):
        if not table.get("says"):
            raise Mistake(f"{where}: it must say which word names the cause")
        if not table.get("script") and not table.get("checks") and not table.get("image"):
            raise Mistake(f"{where}: neither its image nor its schedule differs from the good one's")
        if "reason" not in table:
            table.setdefault("check", file.stem)
            unknown = sorted(set(table["check"].split()) - KINDS)
            if unknown:
                raise Mistake(f"{where}: no kind of check is {', '.join(unknown)}; known: {', '.join(sorted(KINDS))}")
        try:
            re.compile(table["says"])
        except re.error as error:
            raise Mistake(f"{where}: says is no regular expression: {error}") from None
    return Canary(name=name, **table)


def test():
    """What can be said of it without an image: it can be read, its scripts are a shell's, and there are enough."""
    canaries = read()
    for one in canaries:
        checked = subprocess.run(["dash", "-n", "-c", one.program], capture_output=True, text=True)
        if checked.returncode != 0:
            raise Mistake(f"[{one.name}]: its script is none of /bin/sh: {checked.stderr.strip()}")
    faults = sum(not one.good for one in canaries)
    if faults < LEAST:
        raise Mistake(f"{faults} faults; at least {LEAST} are meant")
