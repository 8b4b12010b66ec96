"""What a verdict is worth, beside what it must be. Pure."""

import collections
import dataclasses
import datetime
import re

RIGHT = "right"
FALSE_PASS = "false pass"
FALSE_FAIL = "false fail"
WRONG_REASON = "wrong reason"
ERRORED = "errored"
# In the order in which they are told.
ALL = [FALSE_PASS, FALSE_FAIL, WRONG_REASON, ERRORED, RIGHT]


@dataclasses.dataclass(frozen=True)
class Judgement:
    name: str
    expected: str
    worth: str
    # passed, failed or errored, or what else became of it.
    verdict: str
    said: str
    # Kinds of the checks that failed.
    failed: tuple = ()
    seconds: float = 0.0
    stages: tuple = ()


def first_line(text):
    return next(iter((text or "").strip().splitlines()), "")


def kind(check):
    return check.get("kind") or check["name"]


def stages(build):
    """The stages that came to their end, with their seconds."""
    ended = []
    for stage in build.get("stages") or []:
        if stage.get("started_at") and stage.get("finished_at"):
            begin, end = (datetime.datetime.fromisoformat(stage[at]) for at in ("started_at", "finished_at"))
            ended.append((stage["name"], (end - begin).total_seconds()))
    return tuple(ended)


def judge(canary, build, seconds=0.0):
    """`build` is what `show --format json` says of it; None: there is none."""
    if build is None:
        return Judgement(canary.name, canary.expected, ERRORED, "no build", "", seconds=seconds)
    verdict = build.get("verdict") or build["state"]
    failure = build.get("failure") or {}
    message = first_line(failure.get("message"))
    failed = [check for check in build.get("checks") or [] if check.get("outcome") == "fail"]
    said = message
    if verdict == "passed":
        worth = RIGHT if canary.good else FALSE_PASS
        said = ""
    # Some reasons that an image must be given are no verdict on it: it comes to no boot.
    elif verdict != "failed" and (canary.good or build.get("reason") != canary.reason):
        worth = ERRORED
    elif canary.good:
        worth = FALSE_FAIL
    else:
        about = [first_line(check.get("summary")) for check in failed if kind(check) in canary.kinds]
        lines = [*about, message]
        named = [line for line in lines if re.search(canary.says, line, re.IGNORECASE)]
        said = (named or lines)[0]
        right = build.get("reason") == canary.reason and bool(about or not canary.kinds)
        worth = RIGHT if right and named else WRONG_REASON
    kinds = tuple(dict.fromkeys(kind(check) for check in failed))
    return Judgement(
        canary.name, canary.expected, worth, verdict, said, kinds, seconds, stages(build)
    )


def detection(judgements):
    """For each kind of check, or reason, that was to find something: how much it found, and of how much."""
    found = collections.Counter()
    meant = collections.Counter()
    for one in judgements:
        if one.expected == "passes":
            continue
        meant[one.expected] += 1
        found[one.expected] += one.worth == RIGHT or one.expected in one.failed
    return [(expected, found[expected], meant[expected]) for expected in sorted(meant)]


def counts(judgements):
    counted = collections.Counter(one.worth for one in judgements)
    return [(worth, counted[worth]) for worth in ALL]


def exit_code(judgements):
    """1: the product was wrong; 2: it could not tell; 0: it was right, though not always for the right reason."""
    worths = {one.worth for one in judgements}
    if worths & {FALSE_PASS, FALSE_FAIL}:
        return 1
    return 2 if ERRORED in worths else 0


def test():
    """What each verdict is worth, by examples."""
    from matrix import Canary

    def build(verdict, reason, *checks):
        failed = [{"name": name, "outcome": "fail", "summary": summary} for name, summary in checks]
        message = f"the required check {checks[0][0]} failed: {checks[0][1]}" if checks else ""
        return {"verdict": verdict, "reason": reason, "checks": failed, "failure": {"message": message}}

    good = Canary("good", good=True)
    fault = Canary("fault", check="ssh users", says="mask(ed)?")
    silent = Canary("silent", reason="image_at_fault", says="control")
    blank = Canary("blank", reason="image_damaged", says="damaged")
    damaged = build("errored", "image_damaged")
    damaged["failure"]["message"] = "the image is damaged"
    told = build("failed", "image_at_fault")
    told["failure"]["message"] = "the control passes: it is the image"
    for canary, seen, worth in [
        (good, build("passed", ""), RIGHT),
        (good, build("failed", "check_failed", ("dns", "no answer")), FALSE_FAIL),
        (good, build("errored", "agent_silent"), ERRORED),
        (good, None, ERRORED),
        (fault, build("passed", ""), FALSE_PASS),
        (fault, build("errored", "agent_silent"), ERRORED),
        (fault, build("failed", "check_failed", ("ssh", "ssh.service is Masked")), RIGHT),
        (fault, build("failed", "check_failed", ("users", "masked")), RIGHT),
        (fault, build("failed", "check_failed", ("dns", "no answer"), ("ssh", "masked")), RIGHT),
        (fault, build("failed", "check_failed", ("ssh", "something\nmasked")), WRONG_REASON),
        (fault, build("failed", "check_failed", ("dns", "masked")), WRONG_REASON),
        (fault, build("failed", "image_at_fault"), WRONG_REASON),
        (silent, told, RIGHT),
        (silent, build("errored", "agent_silent"), ERRORED),
        (silent, build("failed", "check_failed", ("dns", "control")), WRONG_REASON),
        (blank, damaged, RIGHT),
        (blank, build("errored", "image_damaged"), WRONG_REASON),
        (blank, build("errored", "scratch_full"), ERRORED),
        (good, damaged, ERRORED),
        (silent, damaged, ERRORED),
    ]:
        judged = judge(canary, seen)
        if judged.worth != worth:
            raise AssertionError(f"{canary.name} with {seen}: {judged.worth} instead of {worth}")
    both = [judge(fault, build("passed", "")), judge(fault, build("failed", "check_failed", ("ssh", "masked")))]
    assert detection(both) == [("ssh", 1, 2)], detection(both)
    assert exit_code(both) == 1 and exit_code(both[1:]) == 0 and exit_code([judge(good, None)]) == 2
