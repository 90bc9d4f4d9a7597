"""What a reader knows, and what each further statement changes in it: FORMAT.md's rules of trust."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from canonical import Refused, ensure
from envelopes import SKEW
from judging import Judge, NeedsRoot, next_root, project_of
from statements import HOUR, ROOT, RULED, Statement, read, type_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LONG_OVER = 30 * 24 * HOUR
Claims = dict[bytes, tuple[Statement, Statement]]


class Waits(Exception):
    """A statement that rests on something not known yet, by its Reason."""


@dataclass
class Known:
    """What a reader learnt, in its order. Each answer is in the words of the vectors."""

    judge: Judge
    me: bytes
    charter: Statement | None = None
    root_awaited: int = 0
    credentials: dict[bytes, Statement] = field(default_factory=dict)
    packages: dict[bytes, Statement] = field(default_factory=dict)
    highest: dict[tuple[bytes, str], tuple[int, ...]] = field(default_factory=dict)  # remembered, whatever is forgotten
    claims: dict[bytes, Claims] = field(default_factory=dict)
    given: dict[bytes, list[tuple[bytes | None, list[object]]]] = field(default_factory=dict)
    waiting: dict[bytes, str] = field(default_factory=dict)

    def learn(self, octets: bytes) -> str:
        """Accept it, know it already, let it wait, skip or refuse it; what waits is judged again after what counts."""
        try:
            type_of(octets)
        except Refused as refused:
            return "skipped" if str(refused) == "unknown-type" else f"reject {refused}"
        if octets[2] not in RULED or octets[3] != 1:
            return "skipped"
        try:
            it = read(octets, None, None if octets[2] == ROOT else self.judge.project, rules=False)
            rule = getattr(self, "_" + it.name.replace(" ", "_"))
            answer = "accept" if rule(octets, it) else "known"
        except Refused as refused:
            self.waiting.pop(octets, None)
            return f"reject {refused}"
        except Waits as waits:
            known = self.waiting.get(octets) == str(waits)
            self.waiting[octets] = str(waits)
            return "known" if known else f"wait {waits}"
        self.waiting.pop(octets, None)
        if answer == "accept":
            for each in list(self.waiting):
                self.learn(each)
        return answer

    def holds(self) -> str | None:
        """Why nothing may be sealed or delivered now, if so."""
        charter, mine = self.charter, self.credentials.get(self.me)
        old = self.root_awaited > self.judge.root["version"]
        if mine is not None:
            old |= mine["charter_version"] > (0 if charter is None else charter["version"])
        if charter is not None:
            old |= not self.judge.names(charter)
            old |= 0 < charter["max_age"] < self.judge.now - charter["as_of"]
        if old or charter is None:
            return "charter-old" if old else None
        return "unknown-suite" if charter["min_suite"] > 1 else "unknown-version" if charter["min_format"] > 1 else None

    def _proven(self, prove: Callable[[Judge], T]) -> T:
        """Prove it; it waits where it is ahead and nothing else is wrong, or needs a root not known yet."""
        try:
            try:
                return prove(self.judge)
            except Refused as refused:
                if str(refused) != "ahead":
                    raise
                prove(replace(self.judge, patient=True))
                raise Waits("ahead") from None
        except NeedsRoot as refused:
            raise Waits(str(refused)) from None

    def _not_older(self, it: Statement, owner: bytes, *age: int) -> None:
        ensure(age >= self.highest.get((owner, it.name), (0,)), "outdated")

    def _root(self, octets: bytes, it: Statement) -> bool:
        known = self.judge.root
        ensure(it["version"] > 1 or not any(it.project), "other-project")
        ensure(project_of(it) == self.judge.project, "other-project")
        if it["version"] < known["version"] or it.digest == known.digest:
            return False
        ensure(it["version"] > known["version"], "fork")
        if it["version"] > known["version"] + 1:
            raise Waits("outdated")
        following = next_root(octets, known)
        if it["made_at"] > self.judge.now + SKEW:
            raise Waits("ahead")
        self.judge, self.root_awaited = replace(self.judge, root=following), 0
        self.credentials = {
            each: credential for each, credential in self.credentials.items() if self._stands(credential)
        }
        self.packages = {each: package for each, package in self.packages.items() if each in self.credentials}
        if _takes_away(known, following):
            self.highest = {of: age for of, age in self.highest.items() if of[0] in self.credentials}
        for session, claims in list(self.claims.items()):
            self.claims[session] = {each: claim for each, claim in claims.items() if self._stands(claim[1])}
            if not self.claims[session]:
                del self.claims[session]
                self.given.pop(session, None)
        return True

    def _stands(self, credential: Statement) -> bool:
        try:
            self.judge.by_key(credential, credential["not_before"], ends=True)
        except Refused:
            return False
        return True

    def _charter(self, octets: bytes, it: Statement) -> bool:
        known, root = self.charter, self.judge.root
        if known is not None and it.same(known):
            return False
        stands = known is None or self.judge.names(known)
        age, same = (it["version"], it["as_of"]), False
        if known is not None and stands:
            same = {**it.fields, "as_of": known["as_of"]} == known.fields
            ensure(it["version"] >= known["version"], "outdated")
            ensure(not same or it["as_of"] >= known["as_of"], "outdated")
        self._proven(lambda judge: judge.charter(octets))
        if it["root_version"] > root["version"]:
            self.root_awaited = max(self.root_awaited, it["root_version"])
            raise Waits("outdated")
        ensure(stands or it["root_version"] == root["version"], "outdated")
        if known is not None and stands:
            ensure(same or it["version"] > known["version"], "fork")
            since = {member: moment for member, moment, _ in it["refusals"]}
            ensure(all(since.get(member, moment + 1) <= moment for member, moment, _ in known["refusals"]), "pardoned")
            if age == (known["version"], known["as_of"]):
                return False
        self.charter = it
        return True

    def _credential(self, octets: bytes, it: Statement) -> bool:
        known = self.credentials.get(it["member"])
        if known is not None and it.same(known):
            return False
        self._not_older(it, it["member"], it["serial"])
        self._proven(lambda judge: judge.credential(octets))
        ensure(known is None or it["serial"] > known["serial"], "fork")
        self.credentials[it["member"]] = it
        self.highest[it["member"], it.name] = (it["serial"],)
        return True

    def _key_package(self, octets: bytes, it: Statement) -> bool:
        known, age = self.packages.get(it["member"]), (it["serial"], it["made_at"])
        if known is not None and it.same(known):
            return False
        self._not_older(it, it["member"], *age)
        credential = self.credentials.get(it["member"])
        if credential is None or it["serial"] > credential["serial"]:
            raise Waits("unknown-member")
        ensure(self.judge.now <= credential["not_after"] + LONG_OVER, "expired")
        self._proven(lambda judge: judge.key_package(octets, credential))
        ensure(known is None or age > (known["serial"], known["made_at"]), "fork")
        self.packages[it["member"]] = it
        self.highest[it["member"], it.name] = age
        return True

    def _session(self, octets: bytes, it: Statement) -> bool:
        claims = self.claims.get(it["session"], {})
        if any(it.same(claim) for claim, _ in claims.values()):
            return False
        ensure(len(claims) < 4, "too-many")
        claim = self._proven(lambda judge: judge.session(octets))
        self.claims[it["session"]] = {**claims, it.digest: claim}
        return True

    def _grants(self, _octets: bytes, it: Statement) -> bool:
        claims, given = self.claims.get(it["session"]), self.given.setdefault(it["session"], [])
        mine = [row for row in it["grants"] if row[:2] == [1, self.me]]
        if all(row in [other for _, other in given] for row in mine):
            return False
        if not claims:
            raise Waits("unknown-session")
        granter = it["granter"]
        ensure(sum(each == granter for each, _ in given) < 8, "too-many")
        if granter is not None:
            it.signed_by(self._granter(granter, claims)["identity"])
        elif not any(self._signed(it, claim) for claim, _ in claims.values()):
            raise Waits("unknown-signer")  # the true claim may be one that has not come yet
        for row in mine:
            if row not in [other for _, other in given] and sum(each == granter for each, _ in given) < 8:
                given.append((granter, row))
        return True

    def _signed(self, it: Statement, claim: Statement) -> bool:
        try:
            it.signed_by(claim["signing_key"])
        except Refused as refused:
            ensure(str(refused) == "unknown-signer", str(refused))
            return False
        return True

    def _granter(self, member: bytes, claims: Claims) -> Statement:
        """The credential of a granter whose word counts: the sender in one of the claims, or one of our own site."""
        granter, me = self.credentials.get(member), self.credentials.get(self.me)
        if granter is None:
            raise Refused("unknown-member")
        refusals = {} if self.charter is None else {each: since for each, since, _ in self.charter["refusals"]}
        ensure(refusals.get(member, self.judge.now + 1) > self.judge.now, "refused-member")
        sent = any(sender["member"] == member for _, sender in claims.values())
        ensure(sent or me is None or me.site == granter.site, "not-authorised")
        return granter


def _takes_away(former: Statement, root: Statement) -> bool:
    """Whether a root names an authority key no more, ends it earlier, or distrusts it from an earlier time on."""
    before, after = dict(former["distrusted"]), dict(root["distrusted"])
    ends = {key: until for algorithm, key, until in root["authority_keys"] if algorithm == 1}
    return any(
        ends.get(key, -1) < until or (key in after and after[key] < before.get(key, after[key] + 1))
        for algorithm, key, until in former["authority_keys"]
        if algorithm == 1
    )
