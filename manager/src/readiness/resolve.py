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


def environments():
    """What the elements' environment.d scripts say: (name of the element, whether it is disk-image-builder's, text)."""
    of_dib = os.path.realpath(paths.get_path("elements")) + os.sep
    for name, element in known.items():
        scripts = os.path.join(element.path, "environment.d")
        for script in sorted(os.listdir(scripts)) if os.path.isdir(scripts) else ():
            with open(os.path.join(scripts, script), encoding="utf-8", errors="replace") as file:
                yield name, os.path.realpath(element.path).startswith(of_dib), file.read(1 << 20)


def from_environments():
    """Variables that the elements name there, and init systems but systemd that those of others than
    disk-image-builder ask for."""
    names, inits = set(), {}
    for element, is_of_dib, text in environments():
        # Assignments, lines of no more than an export, and defaults by `: ${NAME:=value}`.
        names.update(re.findall(r"(?m)^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=", text))
        names.update(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?[-=]", text))
        if not is_of_dib:
            words = re.findall(r"(?m)^\s*(?:export\s+)?DIB_INIT_SYSTEM=['\"]?([a-z]+)['\"]?\s*(?:#.*)?$", text)
            inits.update({element: word for word in words if word != "systemd"})
    return {"declared": sorted(names), "inits": inits}


def provided(what, there):
    return any(what in known[name].provides for name in there)


json.dump(
    {
        "known": sorted(known),
        **from_environments(),
        "systems": sorted(n for n, e in known.items() if "operating-system" in e.provides),
        "lists": [answer(names) for names in asked["lists"]],
    },
    sys.stdout,
)
