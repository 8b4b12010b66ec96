"""Good images, booted in a row under disturbance: whatever comes of it, none may fail."""

import collections
import pathlib
import re
import statistics
import time

import base
import judgement
import mirror
import place
from disturbance import Disturbance
from judgement import ERRORED, FALSE_FAIL, RIGHT
from matrix import Canary
from place import Place

# Longest time of one boot in seconds: more than its schedule's own deadlines.
LIMIT = 2 * 3600
# Longest time between two disturbances in seconds; the tiny image is there in a quarter of a minute.
CALM = {"good": 20, "tiny": 5}
TINY = """\
[schedule.tiny]
image.elements = ["tiny"]
server = {{ memory = "256 MiB", disk = "512 MiB" }}
timeouts = {{ build = "10m", upload = "10m", boot = "15m", verify = "15m", total = "1h" }}

[schedule.tiny.checks]
{checks}
"""
# The image's sources lead to the mirror that answers 503 now and then.
SOURCES = "sed -i 's|http://\\([^/ ]*\\)/|http://{mirror}/\\1/|' /etc/apt/sources.list.d/*; grep -q {mirror} /etc/apt/sources.list.d/*"


def archive():
    """Host and path of the archive that this host's own apt goes to: it answers from here."""
    files = [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    found = re.search(r"^(?:deb|URIs:)[^#\n]*?\bhttp://([^/\s:]+)(/[^\s]*?)/?(?:\s|$)", text, re.MULTILINE)
    if not found:
        raise OSError("this host's sources of apt name no archive by http: none can be put behind the mirror")
    return found.groups()


def good(here, given, address):
    image = base.get(given.distribution, lambda _: None)
    # The mirror's address is no name.
    here.schedule(
        given.distribution,
        place.checks(given.set or "cloud", f'dns = {{ names = ["{archive()[0]}"] }}'),
        environment=place.canary(image, SOURCES.format(mirror=address)),
    )
    return {"IMAGE_MANAGER_DIB": str(place.HERE / "disk-image-create")}


def tiny(here, _, address):
    host, path = archive()
    checks = place.checks("minimal", f'internet = {{ targets = ["http://{address}/{host}{path}/dists/"] }}')
    here.write(TINY.format(checks=checks))
    return {"IMAGE_MANAGER_DIB": str(place.REPOSITORY / "testbed/tiny-image/disk-image-create")}


def boots(kind, count, given, say, address):
    """Boots it so often; returns what each came to, with what was done to it."""
    ended, name = [], kind.__name__
    with Place(name, given.keep) as here:
        environment = kind(here, given, address)
        for number in range(1, count + 1):
            began = time.monotonic()
            with Disturbance(here.state, f"{given.seed} {name} {number}", CALM[name]) as disturbed:
                code = here.run("run", name, "--force", limit=LIMIT, **environment)
            build = here.latest()
            judged = judgement.judge(Canary(name, good=True), build, time.monotonic() - began)
            ended.append((judged, build.get("reason") if build else f"exit code {code}", disturbed))
            say(
                f"{judged.worth:12}  {name} {number:3} {judged.seconds:5.0f} s  {judged.verdict}: "
                f"{'; '.join(disturbed.done) or 'undisturbed'}"
            )
            if judged.worth != RIGHT:
                say(f"{'':14}{ended[-1][1]}: {judged.said}")
            for trouble in disturbed.troubles:
                say(f"{'':14}not disturbed: {trouble}")
    return ended


def main(given, say):
    """The boots that were asked for; exits as the trial of the matrix does, but errors are only counted."""
    say(f"disturbed by chance: --seed {given.seed}")
    base.get(given.distribution, say, given.rebuild, given.keep)
    server = mirror.start(given.seed)
    ended = {}
    for kind, count in [(good, given.good), (tiny, given.tiny)]:
        if count:
            ended[kind.__name__] = boots(kind, count, given, say, server.server_address[0])
    say("")
    for name, all_ in ended.items():
        counted = collections.Counter(judged.worth for judged, _, _ in all_)
        disturbances = collections.Counter(what for _, _, by in all_ for what in by.names)
        seconds = [judged.seconds for judged, _, _ in all_]
        say(
            f"{name}: {len(all_)} boots, {counted[RIGHT]} passed, {counted[FALSE_FAIL]} failed falsely, "
            f"{counted[ERRORED]} errored; {statistics.median(seconds):.0f} s each, {max(seconds):.0f} s at most"
        )
        for reason, times in collections.Counter(reason for judged, reason, _ in all_ if judged.worth == ERRORED).items():
            say(f"    errored: {reason} {times}")
        for what, times in disturbances.most_common():
            say(f"    {what}: {times} times")
    say(f"the mirror was asked {server.asked} times, and answered 503 to {server.refused}")
    return 1 if any(judged.worth == FALSE_FAIL for all_ in ended.values() for judged, _, _ in all_) else 0
