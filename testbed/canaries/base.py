"""The good image: a real one, which the product builds with disk-image-builder and finds good.

It is kept by a digest of what it is made of, for as long as the mirrors may be expected to have nothing newer for it.
"""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import time

import place
from place import Place, Trouble

# After this its updates are pending, and the good image is no longer good.
OLDEST = 3 * 24 * 3600
# Longest time that it may take, in seconds: more than its schedule's own.
LIMIT = 2 * 3600
# Directories that builds do not see.
UNSEEN = [pathlib.Path("/home"), pathlib.Path("/root")]


def directory():
    """Where it is kept."""
    here = pathlib.Path(os.environ.get("CANARIES_DIRECTORY", place.REPOSITORY / "target/canaries")).resolve()
    if any(here.is_relative_to(unseen) for unseen in UNSEEN):
        here = pathlib.Path("/var/tmp/image-manager-canaries")
    return here


def digest(distribution):
    """Of the elements and of what the schedule says of the image. The agent is every canary's own."""
    sum_ = hashlib.sha256(repr([distribution, place.SCHEDULE, place.ELEMENTS, place.KEY, place.RELEASES]).encode())
    for file in sorted((place.REPOSITORY / "elements").rglob("*")):
        if file.is_file():
            sum_.update(f"{file.relative_to(place.REPOSITORY)}\0{file.stat().st_mode & 0o111}\0".encode())
            sum_.update(file.read_bytes())
    return sum_.hexdigest()[:12]


def get(distribution, say, rebuild=False, keep=None):
    """Its path; builds it where there is none yet."""
    kept = directory()
    kept.mkdir(parents=True, exist_ok=True)
    image = kept / f"{distribution}-{digest(distribution)}.raw"
    with open(kept / "lock", "w") as lock:
        # Two runs at once: the other waits for what this one builds.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if rebuild or not image.exists() or time.time() - image.stat().st_mtime > OLDEST:
            build(distribution, image, say, keep)
            for older in kept.glob(f"{distribution}-*.raw"):
                if older != image:
                    older.unlink()
    return image


def build(distribution, image, say, keep):
    say(f"building {distribution}, with disk-image-builder; some minutes")
    began = time.monotonic()
    with Place(f"base-{distribution}", keep) as here:
        # What else it must hold is for the first canary to show, which is this image as it is.
        here.schedule(distribution, place.checks("minimal"))
        code = here.run("run", here.name, limit=LIMIT)
        if code != 0:
            raise Trouble(f"{distribution} was not built and found good (exit code {code}):\n{here.output()}")
        published = here.state / "images/published" / f"{here.name}.raw"
        new = image.with_suffix(".new")
        subprocess.run(["cp", "--sparse=always", published, new], check=True)
        os.utime(new)
        new.rename(image)
    say(f"built {image.name} in {time.monotonic() - began:.0f} s")
