"""What a reader knows, and what each further statement changes in it: FORMAT.md's rules of trust."""

from __future__ import annotations

from dataclasses import dataclass, field

from canonical import Refused, ensure
from judging import Judge, next_root
from statements import Statement, read


class Waits(Exception):
    """A statement that rests on something not known yet."""


@dataclass
class Known:
    """What a reader learnt, in its order. Each answer is in the words of the vectors."""

    judge: Judge
    me: bytes
    charter: Statement | None = None
    credentials: dict[bytes, Statement] = field(default_factory=dict)
    packages: dict[bytes, Statement] = field(default_factory=dict)
    claims: dict[bytes, dict[bytes, tuple[Statement, Statement]]] = field(default_factory=dict)
    waiting: dict[bytes, bytes] = field(default_factory=dict)

    def learn(self, octets: bytes) -> str:
        """Accept it, know it already, let it wait, or refuse it; what waits is judged again after each that counts."""
        try:
            first = octets[2:3] == b"\x21" and not any(octets[5:37])  # a root that makes its project cannot name it
            it = read(octets, None, bytes(32) if first else self.judge.project)
        except Refused as refused:
            return f"reject {refused}"
        self.waiting.pop(it.digest, None)
        try:
            answer = getattr(self, "_" + it.name.replace(" ", "_"))(octets, it)
        except Refused as refused:
            if str(refused) != "ahead":
                return f"reject {refused}"
            answer = "wait ahead"
        except Waits as waits:
            answer = f"wait {waits}"
        if answer.startswith("wait"):
            self.waiting[it.digest] = octets
        if answer == "accept":
            for each in list(self.waiting.values()):
                self.learn(each)
        return answer

    def holds(self) -> str | None:
        """Why nothing may be sealed or delivered now, if so."""
        charter, judge, mine = self.charter, self.judge, self.credentials.get(self.me)
        waiting = [read(each, None, None) for each in self.waiting.values() if each[2] == 0x22]  # noqa: PLR2004
        if any(each["root_version"] > judge.root["version"] and judge.names(each) for each in waiting):
            return "charter-old"
        if mine is not None and mine["charter_version"] > (charter["version"] if charter else 0):
            return "charter-old"
        if charter is None:
            return None
        too_old = charter["max_age"] and charter["as_of"] + charter["max_age"] < judge.now
        if too_old or not judge.names(charter):
            return "charter-old"
        return "unknown-suite" if charter["min_suite"] > 1 else "unknown-version" if charter["min_format"] > 1 else None

    def _root(self, octets: bytes, it: Statement) -> str:
        if it.digest == self.judge.root.digest:
            return "known"
        ensure(it["version"] > self.judge.root["version"], "outdated")
        self.judge.root = next_root(octets, self.judge.root)
        return "accept"

    def _charter(self, octets: bytes, it: Statement) -> str:
        known, root = self.charter, self.judge.root
        if it["root_version"] > root["version"]:
            raise Waits("outdated")
        self.judge.charter(octets)
        if known is not None and self.judge.names(known):
            answer = newest(it, known, "version", "as_of")
            if it["version"] == known["version"]:
                same = {**it.fields, "as_of": known["as_of"]} == known.fields
                ensure(same, "fork")
            since = {member: moment for member, moment, _ in it["refusals"]}
            ensure(all(since.get(member, moment + 1) <= moment for member, moment, _ in known["refusals"]), "pardoned")
        else:
            ensure(known is None or it["root_version"] == root["version"], "outdated")
            answer = "accept"
        self.charter = it
        return answer

    def _credential(self, octets: bytes, it: Statement) -> str:
        self.judge.credential(octets)
        answer = newest(it, self.credentials.get(it["member"]), "serial")
        self.credentials[it["member"]] = it
        return answer

    def _key_package(self, octets: bytes, it: Statement) -> str:
        credential = self.credentials.get(it["member"])
        if credential is None or it["serial"] > credential["serial"]:
            raise Waits("unknown-member")
        ensure(it["serial"] == credential["serial"], "outdated")
        self.judge.key_package(octets, credential)
        answer = newest(it, self.packages.get(it["member"]), "serial", "made_at")
        self.packages[it["member"]] = it
        return answer

    def _session(self, octets: bytes, it: Statement) -> str:
        claim = self.judge.session(octets)
        claims = self.claims.setdefault(it["session"], {})
        if it.digest in claims:
            return "known"
        ensure(len(claims) < 4, "too-many")  # noqa: PLR2004
        claims[it.digest] = claim
        return "accept"

    def _grants(self, octets: bytes, it: Statement) -> str:
        claims = self.claims.get(it["session"])
        if not claims:
            raise Waits("unknown-session")
        granter = self._granter(it, claims)
        reason = ""
        for claim, _ in claims.values():
            try:
                self.judge.grants(octets, claim, granter)
            except Refused as refused:
                reason = str(refused)
            else:
                return "accept"
        raise Refused(reason)

    def _granter(self, it: Statement, claims: dict[bytes, tuple[Statement, Statement]]) -> Statement | None:
        """The credential of a granter whose word counts: the sender in one of the claims, or one of our own site."""
        if (member := it["granter"]) is None:
            return None
        sender = next((sender for _, sender in claims.values() if sender["member"] == member), None)
        granter, me = self.credentials.get(member, sender), self.credentials.get(self.me)
        ensure(granter is not None, "unknown-member")
        assert granter is not None  # noqa: S101
        of_our_site = me is not None and dict(me["attributes"])["site"] == dict(granter["attributes"])["site"]
        ensure(sender is not None or of_our_site, "not-authorised")
        refusals = {} if self.charter is None else {each: since for each, since, _ in self.charter["refusals"]}
        ensure(refusals.get(member, self.judge.now + 1) > self.judge.now, "refused-member")
        return granter


def newest(it: Statement, known: Statement | None, *fields: str) -> str:
    """Higher than what is known is accepted, the same is known; lower is `outdated`, other content a `fork`."""
    if known is None:
        return "accept"
    mine, theirs = (tuple(each[name] for name in fields) for each in (it, known))
    ensure(mine >= theirs, "outdated")
    ensure(mine > theirs or it.digest == known.digest, "fork")
    return "accept" if mine > theirs else "known"
