"""Says what disk-image-builder makes of lists of elements. Run by disk-image-builder's own Python.

Reads {"paths": "/a:/b", "lists": [["vm", ...], ...], "marks": ["dpkg", ...]} from standard input; writes what each list
expands to, or why it does not: by disk-image-builder's own resolver, which a build asks first, too. Of each named element
it says which of the marks it brings along.
"""
import json
import logging
import os
import re
import sys

from diskimage_builder import element_dependencies, paths

logging.disable(logging.CRITICAL)
asked = json.load(sys.stdin)
search = ":".join(p for p in (asked["paths"], paths.get_path("elements")) if p)
known = element_dependencies._find_all_elements(search)
marks = set(asked["marks"])


def reached(names):
    """All that the names need, as far as it is there."""
    found, queue = set(), list(names)
    while queue:
        name = queue.pop()
        if name not in found and name in known:
            found.add(name)
            queue.extend(known[name].depends)
    return found


def answer(names):
    # What disk-image-create adds to its arguments before it asks.
    if "vm" in names and not any(name.startswith("block-device-") for name in names):
        names = [*names, "block-device-mbr"]
    try:
        expanded = sorted(name for name, _ in element_dependencies.get_elements(names, search))
        return {"elements": expanded, "brings": {name: sorted(reached([name]) & marks) for name in names}}
    except element_dependencies.MissingElementException:
        there = reached(names)
        gaps = [[name, ""] for name in names if name not in known]
        gaps += [[need, name] for name in sorted(there) for need in sorted(known[name].depends) if need not in known]
        return {"error": "missing", "gaps": [gap for gap in gaps if not provided(gap[0], there)]}
    except element_dependencies.MissingOSException:
        return {"error": "no_os"}
    except element_dependencies.AlreadyProvidedException:
        by = {}
        for name in sorted(reached(names)):
            for what in known[name].provides:
                by.setdefault(what, []).append(name)
        twice = {what: who for what, who in by.items() if len(who) > 1 or (what in names and what not in who)}
        return {"error": "conflict", "twice": twice}


def declared():
    """Variables that the elements on the path name in their environment.d."""
    names = set()
    for element in known.values():
        scripts = os.path.join(element.path, "environment.d")
        for script in sorted(os.listdir(scripts)) if os.path.isdir(scripts) else ():
            with open(os.path.join(scripts, script), encoding="utf-8", errors="replace") as file:
                names.update(re.findall(r"(?m)^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=", file.read(1 << 20)))
                # Lines of no more than an export, and defaults by `: ${NAME:=value}`.
                file.seek(0)
                names.update(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?[-=]", file.read(1 << 20)))
    return sorted(names)


def inits():
    """Init systems but systemd that elements which are not disk-image-builder's ask for."""
    found = {}
    own = os.path.realpath(paths.get_path("elements"))
    for name, element in known.items():
        scripts = os.path.join(element.path, "environment.d")
        if os.path.realpath(element.path).startswith(own + os.sep) or not os.path.isdir(scripts):
            continue
        for script in sorted(os.listdir(scripts)):
            with open(os.path.join(scripts, script), encoding="utf-8", errors="replace") as file:
                words = re.findall(r"(?m)^\s*(?:export\s+)?DIB_INIT_SYSTEM=['\"]?([a-z]+)['\"]?\s*(?:#.*)?$", file.read(1 << 20))
            found.update({name: word for word in words if word != "systemd"})
    return found


def provided(what, there):
    return any(what in known[name].provides for name in there)


json.dump(
    {
        "known": sorted(known),
        "declared": declared(),
        "inits": inits(),
        "systems": sorted(n for n, e in known.items() if "operating-system" in e.provides),
        "lists": [answer(names) for names in asked["lists"]],
    },
    sys.stdout,
)
