"""What dnf would install today if it were asked for the packages of an image, in an empty root.

The argument is a file with the question, as JSON. The answer is printed as JSON. Of a `result`, `packages` is what would be
installed, and `replaced` pairs a package that another one obsoletes with that one; a `doubt` is its kind, and why there is
no result. No configuration, plugin or repository of this host is read, and nothing of the image but what the question says.
"""

import hashlib
import http.client
import json
import logging
import sys
import urllib.request

# Bytes of a list of mirrors that are read, mirrors of it that are tried, and those that are asked.
MOST_READ = 1 << 20
MOST_TRIED = 16
MOST_ASKED = 3
SECONDS = 10
# What dnf says of signatures, checksums and certificates.
NOT_TRUSTED = ("GPG", "hecksum", "SSL", "ertificate")


class Doubt(Exception):
    """There is no answer: of which kind, and why."""

    def __init__(self, kind, why):
        super().__init__(why)
        self.kind = kind


def configuration(dnf, question):
    root = question["root"]
    conf = dnf.conf.Conf()
    conf.installroot = root + "/root"
    conf.cachedir = root + "/cache"
    conf.persistdir = root + "/persist"
    conf.logdir = root + "/log"
    conf.reposdir = [root + "/none"]
    conf.varsdir = [root + "/none"]
    conf.plugins = False
    conf.substitutions["arch"] = question["arch"]
    conf.substitutions["basearch"] = question["arch"]
    conf.substitutions["releasever"] = "none"
    conf.module_platform_id = question["platform"]
    # A package that would come for a recommendation is no sign: the image may have been built without.
    conf.install_weak_deps = False
    conf.best = True
    conf.obsoletes = True
    conf.gpgkey_dns_verification = False
    conf.protect_running_kernel = False
    conf.timeout = 10
    conf.retries = 1
    conf.zchunk = False
    conf.deltarpm = False
    conf.fastestmirror = False
    conf.user_agent = "image-manager"
    if hasattr(conf, "optional_metadata_types"):
        # Packages need files, too, and newer ones do not read the lists of these by themselves.
        conf.optional_metadata_types = ["comps", "filelists", "updateinfo"]
    return conf


class OnlyHttps(urllib.request.HTTPRedirectHandler):
    """dnf would follow a server that has proved who it is to one that has not."""

    def redirect_request(self, request, file, code, words, headers, url):
        if not url.lower().startswith("https://"):
            raise Doubt("trusted", f"{request.full_url} leads to {url}, which is not https")
        return super().redirect_request(request, file, code, words, headers, url)


def fetch(url):
    try:
        with urllib.request.build_opener(OnlyHttps).open(url, timeout=SECONDS) as answer:
            return answer.read(MOST_READ)
    except (OSError, ValueError, http.client.HTTPException) as error:
        kind = "trusted" if any(word in str(error) for word in NOT_TRUSTED) else "reached"
        raise Doubt(kind, f"{url}: {error}")


def listed(url, signed):
    """The mirrors of a list that can be believed: whose index is signed, or who can prove who they are."""
    schemes = ("https://", "http://") if signed else ("https://",)
    lines = [line.strip() for line in fetch(url).decode("ascii", "replace").splitlines()]
    found = [line for line in lines if line.startswith(schemes) and "$" not in line]
    if not found:
        raise Doubt("trusted", f"{url} names {'no mirror' if signed else 'no mirror with https'}")
    return found


def addresses(urls, signed):
    """Those that are asked, and the indexes that they gave out: where the index is not signed, servers that give it out
    themselves or lead to one like them."""
    if signed:
        return urls[:MOST_TRIED], []
    found, indexes, doubt = [], [], None
    for url in urls[:MOST_TRIED]:
        try:
            indexes.append(fetch(url.rstrip("/") + "/repodata/repomd.xml"))
            found.append(url)
        except Doubt as other:
            doubt = other
        if len(found) == MOST_ASKED:
            break
    if not found:
        raise doubt
    return found, indexes


class Warnings(logging.Handler):
    """What dnf says besides: the error of a repository does not say what is wrong with its mirrors."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said += record.getMessage().splitlines()


class Keys:
    """The repository's own keys are in the question, and no others."""

    def _confirm(self, *_):
        return True


def add(dnf, base, repository):
    """Adds it; says of an index whether it is one that can be believed, apart from a signature."""
    repo = dnf.repo.Repo(repository["id"], base.conf)
    signed = repository["signed"]
    if repository["metalink"]:
        sums = fetch(repository["metalink"]).decode("ascii", "replace").lower()
        repo.metalink = repository["metalink"]

        def is_believed(index):
            return any(hashlib.new(kind, index).hexdigest() in sums for kind in ("sha256", "sha512"))
    else:
        urls = repository["baseurls"]
        if repository["mirrorlist"]:
            urls = listed(repository["mirrorlist"], signed)
        repo.baseurl, indexes = addresses(urls, signed)

        def is_believed(index):
            return index in indexes
    repo.priority = repository["priority"]
    repo.repo_gpgcheck = signed
    repo.gpgkey = ["file://" + key for key in repository["keys"]]
    repo.gpgcheck = True
    repo.sslverify = True
    repo.skip_if_unavailable = False
    repo.metadata_expire = 0
    repo._set_key_import(Keys())
    base.repos.add(repo)
    return is_believed


def verify(repo, is_believed):
    """dnf asks again, and a server may then lead elsewhere: the index that it got has to be one that was proved."""
    with open(repo._repo.getCachedir() + "/repodata/repomd.xml", "rb") as file:
        if not is_believed(file.read()):
            raise Doubt("trusted", f"dnf got another index of the repository {repo.id} than came by https")


def doubt_streams(base):
    """A stream that is enabled stays, and a build may get the one that has become the default meanwhile."""
    modules = base._moduleContainer
    for module in modules.getModulePackages():
        name, stream = module.getName(), module.getStream()
        default = modules.getDefaultStream(name)
        if default and default != stream and modules.isEnabled(name, stream):
            raise Doubt("unknown", f"the stream {stream} of the module {name} is enabled, and {default} is its default")


def described(package):
    version = f"{package.version}-{package.release}"
    return [package.name, f"{package.epoch}:{version}" if package.epoch else version, package.arch]


def ask(dnf, hawkey, question):
    # Where whoever is not root has locks: it would stay in /var/tmp.
    dnf.yum.misc.getCacheDir = lambda: question["root"] + "/cache"
    base = dnf.Base(configuration(dnf, question))
    unsigned = []
    for repository in question["repositories"]:
        is_believed = add(dnf, base, repository)
        if not repository["signed"]:
            unsigned.append((base.repos[repository["id"]], is_believed))
    warnings = Warnings()
    logging.getLogger("dnf").addHandler(warnings)
    logging.getLogger("dnf").propagate = False
    try:
        base.fill_sack(load_system_repo=False)
    except dnf.exceptions.RepoError as error:
        said = [line for line in warnings.said if line.startswith("  - ")] + [str(error)]
        wrong = [line for line in said if any(word in line for word in NOT_TRUSTED)]
        raise Doubt("trusted" if wrong else "reached", (wrong or said)[0].removeprefix("  - "))
    for repo, is_believed in unsigned:
        verify(repo, is_believed)
    doubt_streams(base)
    for name, arch in sorted({(name, arch) for name, _, arch in question["packages"]}):
        if not base.sack.query().available().filter(name=name, arch=arch):
            raise Doubt("unknown", f"no package source has {name}.{arch}")
        selector = hawkey.Selector(base.sack)
        selector.set(name=name, arch=arch)
        base.goal.install(select=selector)
    try:
        base.resolve()
    except dnf.exceptions.DepsolveError as error:
        raise Doubt("unknown", f"dnf cannot install the packages of the image: {error}")
    chosen = list(base.transaction.install_set)
    others = replaced(base, chosen) + moved(base, chosen, question["arch"])
    return {"result": {"packages": [described(package) for package in chosen], "replaced": others}}


def replaced(base, chosen):
    """Packages that others obsolete, with these: a package may obsolete older ones of its own name."""
    if not chosen:
        return []
    available = base.sack.query().available()
    others = list(available.filter(obsoletes=available.filter(pkg=chosen)))
    if not others:
        return []
    found = []
    for package in chosen:
        of_it = available.filter(pkg=others).filter(obsoletes=available.filter(pkg=[package]))
        found += [[described(package), described(other)] for other in of_it if other.name != package.name]
    return found


def moved(base, chosen, arch):
    """Packages that a build would take from another architecture, with these: newer ones, to or from `noarch`."""
    available = base.sack.query().available()
    found = []
    for package in chosen:
        elsewhere = {"noarch": arch, arch: "noarch"}.get(package.arch)
        if elsewhere is None:
            continue
        priority = base.repos[package.reponame].priority
        for other in available.filter(name=package.name, arch=elsewhere):
            its_priority = base.repos[other.reponame].priority
            if its_priority < priority or (its_priority == priority and other.evr_cmp(package) > 0):
                found.append([described(package), described(other)])
    return found


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        question = json.load(file)
    try:
        import dnf
        import hawkey
    except ImportError as error:
        answer = {"doubt": ["here", f"dnf's library for Python: {error}"]}
    else:
        try:
            answer = ask(dnf, hawkey, question)
        except Doubt as doubt:
            answer = {"doubt": [doubt.kind, str(doubt)]}
        except (dnf.exceptions.Error, hawkey.Exception, OSError, RuntimeError) as error:
            answer = {"doubt": ["unknown", f"dnf: {error}"]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
