"""Members, sessions and charter as a site's worker believes: what was proven is shown, what was not is counted."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.agents.settings import Cluster
from sealwire.app import belief, cli, live, roster
from sealwire.app import project as projects
from sealwire.app.authority import Authority
from sealwire.app.cloudlog import CloudLog
from sealwire.app.config import Node, load
from sealwire.app.custody import make_key_file
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.names import project_topics
from sealwire.app.project import Project, now_ms
from sealwire.app.vault import create_vault
from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import grant as grants
from sealwire.keys import identity as identities
from sealwire.keys import keypackage, policy, wire
from sealwire.keys import progress as progresses
from sealwire.keys import request as requests
from sealwire.keys import session as sessions
from sealwire.keys import ticket as tickets
from sealwire.keys.charter import PolicyRow, Refusal
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.progress import PartitionProgress, State, TopicProgress
from sealwire.keys.secrets import Secrets
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sealwire.app.belief import Belief
    from sealwire.keys.session import OutboundSession

HOUR = 3_600_000
DAY = 24 * HOUR
PLACES = [("erp", "acme.erp.a"), ("erp", "acme.erp.b"), ("orders", "acme.orders")]
READERS = policy.table({"role": ["member"], "site": ["lisbon", "oslo"]})


@dataclass
class Town:
    """A project with members, and what stands in its topics."""

    project: Project
    now: int
    members: dict[str, Secrets] = field(default_factory=dict)
    control: list[bytes] = field(default_factory=list)
    sessions: list[bytes] = field(default_factory=list)

    def admit(self, name: str, site: str, *, reads: bool = False, age: int = 0) -> Secrets:
        then = self.now - age
        identity = identities.create(os.urandom, then)
        statement = credentials.make(
            self.project.root,
            self.project.authority_key(),
            member_id=identity.member_id,
            identity_key=identity.public,
            name=name,
            attributes={"role": "member", "site": site, "tier": "1"},
            serial=1,
            now=then,
        )
        secrets = Secrets.begin(identity).asked(self.project.id, self.project.root.statement, b"").admitted(statement)
        self.control.append(statement)
        if reads:
            known = credentials.read(statement, self.project.root, self.now)
            held, package = keypackage.renew(identity, known, self.project.id, (), self.now, os.urandom)
            assert package is not None
            self.control.append(package)
            secrets = secrets.holding(held)
        self.members[name] = secrets
        return secrets

    def renewed(self, name: str) -> bytes:
        known = credentials.read(self.members[name].credential or b"", self.project.root, self.now)
        return credentials.make(
            self.project.root,
            self.project.authority_key(),
            member_id=known.member_id,
            identity_key=known.identity_key,
            name=name,
            attributes=dict(known.attributes),
            serial=2,
            now=self.now,
        )

    def id(self, name: str) -> bytes:
        return self.members[name].identity.member_id

    def sign(self, *refusals: Refusal, policies: Sequence[PolicyRow] = charters.BUILT_IN.policies) -> None:
        rows = tuple(sorted(refusals, key=lambda row: row.member_id))
        fields = replaced(version=1, as_of=self.now - HOUR // 4, refusals=rows, policies=tuple(policies))
        self.control.append(charters.make(self.project.root, self.project.authority_key(), fields))

    def trust(self) -> Trust:
        return Trust(self.project.root).learn(self.control, self.now)[0]

    def session(self, name: str, channel: str = "orders", age: int = 0, number: int = 1) -> OutboundSession:
        secrets, then = self.members[name], self.now - age
        outbound, claim = sessions.start(
            secrets.identity, secrets.credential or b"", self.project.id, channel, 0, number, then, os.urandom
        )
        readers = self.trust().readers(channel, "acme.orders", self.now)
        self.sessions += [claim, *grants.wrap(outbound, readers, 1, self.now, os.urandom)]
        return outbound

    def progress(self, outbound: OutboundSession, number: int, *, final: bool = False) -> bytes:
        topics = (TopicProgress("orders", bytes(16), 3, (PartitionProgress(1, 7, 9, State.LIVE),)),)
        as_of = self.now - 9000 + number
        return progresses.make(outbound, number, as_of, as_of + 60_000, final, topics, os.urandom)

    def seen_by(self, name: str) -> Belief:
        return belief.believed(name, self.members[name], self.control, self.sessions, self.now)


def replaced(**changes: Any) -> Any:
    fields = charters.BUILT_IN
    return type(fields)(**{each: changes.get(each, getattr(fields, each)) for each in fields.__struct_fields__})


@pytest.fixture
def town(tmp_path: Path) -> Town:
    made = Town(projects.create("acme", tmp_path / "project"), now_ms())
    made.admit("berlin-1", "berlin")
    made.admit("lisbon-1", "lisbon", reads=True)
    made.admit("oslo-1", "oslo", reads=True)
    return made


def listed(town: Town, places: Sequence[tuple[str, str]] = PLACES) -> dict[str, roster.Entry]:
    return {each.name: each for each in roster.entries(town.seen_by("lisbon-1"), places)}


# Members


def test_each_member_is_shown_with_what_it_may_do_on_the_channels_of_the_node(town: Town) -> None:
    erp = PolicyRow("erp", "acme.erp.a", policy.ATTRIBUTES, policy.MEMBERS, READERS, 0)
    town.sign(
        policies=[erp, PolicyRow("orders", "*", policy.ATTRIBUTES, policy.table({"site": ["berlin"]}), READERS, 0)]
    )
    found = listed(town)
    assert list(found) == ["berlin-1", "lisbon-1", "oslo-1"]
    berlin, lisbon = found["berlin-1"], found["lisbon-1"]
    assert berlin.produces == (("erp", "acme.erp.a"), ("orders", "acme.orders"))
    assert berlin.consumes == ()
    assert lisbon.produces == (("erp", "acme.erp.a"),)
    assert lisbon.consumes == (("erp", "acme.erp.a"), ("orders", "acme.orders"))
    assert (berlin.site, dict(berlin.attributes)["tier"], berlin.why) == ("berlin", "1", "")
    assert berlin.fingerprint == identities.fingerprint(town.id("berlin-1"))
    assert (berlin.admitted, berlin.until, berlin.keys_until) == (town.now, town.now + 7 * DAY, None)
    assert lisbon.keys_until is not None
    assert lisbon.keys_until > town.now + 3 * DAY
    assert lisbon.cells(PLACES)[6:8] == ("erp (1 of 2 topics)", "erp (1 of 2 topics), orders")


def test_a_member_whom_the_charter_refuses_is_shown_as_refused_and_may_do_nothing(town: Town) -> None:
    gone = os.urandom(32)
    town.sign(Refusal(town.id("oslo-1"), town.now - HOUR, "left"), Refusal(gone, 0, "stolen"))
    found = listed(town)
    oslo = found["oslo-1"]
    assert (oslo.why, oslo.produces, oslo.consumes) == ("refused-member", (), ())
    assert oslo.as_json()["refused"] == {"since_ms": town.now - HOUR, "why": "left"}
    assert oslo.cells(PLACES)[-1].endswith(": left")
    # One whose credential the cloud no longer shows is not left out.
    assert (found[""].member_id, found[""].cells(PLACES)[-1]) == (gone, "refused since ever: stolen")
    assert found["lisbon-1"].why == ""


def test_a_member_that_is_refused_from_a_time_to_come_is_one_until_then_and_that_is_shown(town: Town) -> None:
    town.sign(Refusal(town.id("oslo-1"), town.now + HOUR, "leaves"))
    oslo = listed(town)["oslo-1"]
    assert (oslo.why, len(oslo.consumes)) == ("", 3)
    assert oslo.as_json()["refused"]["why"] == "leaves"


def test_a_member_whose_credential_ended_is_no_member(town: Town) -> None:
    town.admit("rome-1", "rome", age=8 * DAY)
    rome = listed(town)["rome-1"]
    assert (rome.why, rome.produces) == ("expired", ())
    assert rome.cells(PLACES)[-1] == "expired"


def test_what_begins_later_than_a_clock_that_is_behind_has_not_ended(town: Town) -> None:
    credential = town.members["lisbon-1"].credential or b""
    not_before = credentials.peek(credential, town.project.id).not_before
    town.now = not_before - 43 * 60_000
    assert listed(town)["lisbon-1"].why == "ahead"


def test_what_is_not_proven_is_not_shown_and_counted(town: Town) -> None:
    other = replace_authority(town)
    own = town.seen_by("lisbon-1").notes
    town.control += [other, town.control[0][:-1] + bytes((town.control[0][-1] ^ 1,)), b"plain"]
    found = listed(town)
    assert list(found) == ["berlin-1", "lisbon-1", "oslo-1"]
    seen = town.seen_by("lisbon-1")
    assert dict(seen.refused) == {"unknown-signer": 1, "bad-signature": 1, "foreign": 1}
    assert own == []
    assert seen.notes == [
        "statements that are not believed, and not shown: 1 bad-signature, 1 foreign, 1 unknown-signer"
    ]
    assert seen.as_json()["refused_statements"] == dict(seen.refused)


def test_whose_clock_is_ahead_is_named_with_both_clocks(town: Town) -> None:
    town.session("berlin-1", age=-43 * 60_000)
    ahead, clocks, rest = town.seen_by("lisbon-1").notes
    assert ahead.startswith("statements dated ahead of our clock, 20")
    assert ahead.endswith(", and not shown: 1")
    assert clocks.startswith("clocks differ: berlin-1 dated a statement 20")
    assert rest == "statements that rest on what is not known yet, and are not shown: 1"  # its grants


def test_an_older_statement_beside_its_newer_one_is_no_news(town: Town) -> None:
    newer = town.renewed("oslo-1")
    town.control.insert(0, newer)
    assert listed(town)["oslo-1"].serial == 2
    assert not town.seen_by("lisbon-1").refused
    assert town.seen_by("lisbon-1").notes == []


def replace_authority(town: Town) -> bytes:
    """A credential that somebody else signed."""
    identity = identities.create(os.urandom, town.now)
    return credentials.make(
        town.project.root,
        SigningKey.from_seed(os.urandom(32)),
        member_id=identity.member_id,
        identity_key=identity.public,
        name="mallory",
        attributes={"role": "member", "site": "berlin"},
        serial=1,
        now=town.now,
    )


def test_why_nothing_counts_at_all_is_said(town: Town) -> None:
    fields = replaced(version=1, as_of=town.now - 2 * HOUR, max_age=HOUR)
    town.control.append(charters.make(town.project.root, town.project.authority_key(), fields))
    seen = town.seen_by("lisbon-1")
    assert [note for note in seen.notes if "nothing is sealed or delivered now: charter-old" in note]
    assert "charter-old" in str(seen.as_json()["holds"])


# Sessions


def only(seen: Belief) -> live.Live:
    (found,), refused = live.sessions(seen)
    assert refused == {}
    return found


def test_a_session_is_shown_with_its_grants_and_its_newest_proven_progress(town: Town) -> None:
    outbound = town.session("berlin-1")
    town.sessions += [town.progress(outbound, 2), town.progress(outbound, 1)]
    found = only(town.seen_by("lisbon-1"))
    assert (found.claim.id, found.claim.sender.name, found.claim.channel) == (outbound.id, "berlin-1", "orders")
    assert (found.grants, found.opens, found.refused) == (3 - 1, True, False)
    assert found.progress is not None
    assert (found.progress.number, found.progress.final) == (2, False)
    told = found.as_json()
    assert told["proven"] is True
    assert told["progress"]["source_partitions"] == 1
    assert found.cells(town.now)[-2:] == ("9 s ago", "opens")
    town.sessions.append(town.progress(outbound, 3, final=True))
    assert "its last word" in only(town.seen_by("lisbon-1")).cells(town.now)[-2]


def test_a_session_that_the_vault_holds_already_is_shown_all_the_same(town: Town) -> None:
    town.session("berlin-1")
    secrets = town.members["lisbon-1"]
    trust, _ = Trust.begin(secrets, town.now).learn(town.control + town.sessions, town.now)
    _, secrets, _ = trust.unwrap_new(secrets, town.now)
    assert len(secrets.inbound) == 1
    town.members["lisbon-1"] = replace(secrets, held=())  # the receiving key may be gone by now
    assert (only(town.seen_by("lisbon-1")).opens, only(town.seen_by("lisbon-1")).grants) == (True, 2)


def test_a_session_without_a_grant_for_us_is_only_claimed_and_its_progress_is_not_shown(town: Town) -> None:
    outbound = town.session("berlin-1")
    town.sessions.append(town.progress(outbound, 1))
    found = only(town.seen_by("berlin-1"))  # the sender's own worker keeps no grant
    assert (found.opens, found.progress, found.grants) == (False, None, 2)
    assert found.as_json()["proven"] is False
    assert "claimed" in found.cells(town.now)[-1]


def test_a_false_claim_of_a_session_that_is_proven_is_not_shown(town: Town) -> None:
    outbound = town.session("berlin-1")
    (true,) = {each for each in town.seen_by("lisbon-1").claims if each.id == outbound.id}
    thief = town.members["oslo-1"]
    fields = {each: getattr(true, each) for each in sessions.SessionFields.__struct_fields__}
    false = sessions.SessionFields(
        **{**fields, "credential": thief.credential, "verifying_key": SigningKey.from_seed(bytes(32)).public}
    )
    town.sessions.insert(0, wire.write(wire.Type.SESSION, town.project.id, false, [thief.identity.signing]))
    assert only(town.seen_by("lisbon-1")).claim.sender.name == "berlin-1"
    names = {each.claim.sender.name for each in live.sessions(town.seen_by("berlin-1"))[0]}
    assert names == {"berlin-1", "oslo-1"}  # where nobody proved either, both are only claimed


def test_sessions_that_ended_are_not_live(town: Town) -> None:
    town.admit("berlin-2", "berlin", age=DAY)
    town.session("berlin-2", age=61 * 60_000)
    seen = town.seen_by("lisbon-1")
    assert (len(seen.claims), dict(seen.refused)) == (1, {})
    assert live.sessions(town.seen_by("lisbon-1"))[0] == ()


def test_what_is_wrapped_for_escrow_is_no_reader(town: Town) -> None:
    outbound = town.session("berlin-1")
    escrow = ReceivingKey.create(os.urandom).public
    town.sessions += grants.wrap(outbound, [], 2, town.now, os.urandom, escrow=[escrow])
    assert only(town.seen_by("lisbon-1")).grants == 2


def test_a_session_of_a_refused_sender_is_marked(town: Town) -> None:
    town.session("berlin-1")
    town.sign(Refusal(town.id("berlin-1"), 0, "stolen"))
    found = only(town.seen_by("lisbon-1"))
    assert (found.refused, found.state) == (True, "refused")


def test_forged_grants_and_progress_are_counted_and_change_nothing(town: Town) -> None:
    outbound = town.session("berlin-1")
    thief = replace(outbound, signing=SigningKey.from_seed(bytes(32)))
    town.sessions += [
        *grants.wrap(thief, [(os.urandom(32), town.trust().packages[town.id("oslo-1")])], 2, town.now, os.urandom),
        town.progress(thief, 9),
        b"plain",
    ]
    (found,), refused = live.sessions(town.seen_by("lisbon-1"))
    assert (found.grants, found.progress) == (2, None)
    assert dict(refused) == {"unknown-signer": 2, "foreign": 1}


# The commands


def yaml(directory: Path, bootstrap: str, mappings: str) -> Path:
    path = directory / "lisbon.yaml"
    path.write_text(
        f"project: acme\nsite: lisbon\nidentity: {{open: lisbon-1, seal: lisbon-1s}}\nstate: {directory / 'state'}\n"
        f'local: {{bootstrap: "localhost:1", broker: embedded}}\n'
        f'cloud: {{bootstrap: "{bootstrap}", broker: embedded}}\nmappings:\n{mappings}'
    )
    return path


MAPPINGS = """
  - {channel: orders, open: acme.orders, to: orders}
  - {channel: erp, open: "^acme[.](erp[.].*)$", to: "\\\\1"}
  - {channel: back, seal: back, to: acme.back, readers: [oslo-1]}
  - {channel: logs, seal: "^log[.](.*)$", to: "acme.logs.\\\\1"}
"""


def vetoed(node: Node, town: Town) -> tuple[roster.Entry, ...]:
    return roster.with_vetoes(node, roster.entries(town.seen_by("lisbon-1"), belief.places(node)))


def test_the_commands_show_what_a_vault_and_the_cloud_make_of_each_other(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    town.sign(Refusal(town.id("oslo-1"), town.now - HOUR, "left"))
    town.session("berlin-1")
    town.control.append(b"plain")
    with EmbeddedBroker() as broker:
        control, said, requests = project_topics("acme")
        news = [NewTopic(topic, 1, 1) for topic in (control, said, requests, "acme.erp.x", "acme.logs.y", "other.z")]
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for made in admin.create_topics(news).values():
            made.result()
        with CloudLog(Cluster(broker.bootstrap), print) as log:
            for at, statement in enumerate(town.control):
                log.publish(control, b"%d" % at, statement)
            for statement in town.sessions:
                log.publish(said, b"", statement)
            assert [each.value for each in log.read_since(said, town.now - HOUR)] == town.sessions
        path = str(yaml(tmp_path, broker.bootstrap, MAPPINGS))
        node = load(tmp_path / "lisbon.yaml")
        assert isinstance(node, Node), node
        make_key_file(tmp_path / "state/vault.key")
        # Its worker runs: the vault is locked.
        with create_vault(node.directory("open") / "vault", node.custody, town.members["lisbon-1"]):
            assert belief.places(node) == [
                ("back", "acme.back"), ("erp", "acme.erp.x"), ("logs", "acme.logs.y"), ("orders", "acme.orders"),
            ]  # fmt: skip
            assert cli.main(["members", path]) == 0
            shown = capsys.readouterr().out
            assert "Project acme as lisbon-1 sees it: charter 1 as of 15 min ago" in shown
            assert [line for line in shown.splitlines() if line.startswith("lisbon-1")]
            assert "refused since" in shown
            assert "statements that are not believed, and not shown: 1 foreign" in shown

            assert cli.main(["members", path, "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert (told["charter"], told["refused_statements"], told["holds"]) == (1, {"foreign": 1}, None)
            berlin, lisbon = (each for each in told["members"] if each["member"])
            assert (berlin["name"], lisbon["name"]) == ("berlin-1", "lisbon-1")
            assert lisbon["vetoed"] == ["back"]
            (entry,) = (each for each in vetoed(node, town) if each.name == "lisbon-1")
            assert entry.cells(belief.places(node))[7] == "erp, logs, orders, back (not from here)"

            assert cli.main(["sessions", path]) == 0
            shown = capsys.readouterr().out
            assert "berlin-1" in shown
            assert "opens" in shown
            assert cli.main(["sessions", path, "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert [(each["sender"], each["opens"]) for each in told["sessions"]] == [("berlin-1", True)]

            assert cli.main(["charter", "show", path]) == 0
            shown = capsys.readouterr().out
            assert "role=member" in shown
            assert "oslo-1" in shown
            assert "no max_age" in shown
            assert cli.main(["charter", "show", path, "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert told["refusals"][0]["name"] == "oslo-1"
            assert 15 * 60_000 <= told["age_ms"] < 20 * 60_000


def test_an_identity_that_is_no_member_yet_believes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = yaml(tmp_path, "localhost:1", MAPPINGS)
    node = load(path)
    assert isinstance(node, Node)
    make_key_file(tmp_path / "state/vault.key")
    create_vault(
        node.directory("open") / "vault", node.custody, Secrets.begin(identities.create(os.urandom, 1))
    ).close()
    assert cli.main(["members", str(path)]) == 2
    assert "sealwire enroll TICKET --identity lisbon-1" in capsys.readouterr().err


def test_the_authority_shows_the_members_of_its_books(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Authority(town.project, town.project.books())
    text = desk.make_ticket({"role": "member", "site": "rome"}, HOUR, "cloud:1", os.urandom, town.now)
    identity = identities.create(os.urandom, town.now)
    asked = requests.ask(tickets.read(text), identity, "rome-1", town.now)
    member = desk.decide(asked, town.now).member
    assert member is not None
    desk.charters.refuse(Refusal(member.member_id, 0, "stolen"), "revoke rome-1", town.now)
    desk.books.close()
    directory = str(town.project.directory)
    assert cli.main(["members", "--directory", directory, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["identity"], told["node"], told["charter"]) == ("the authority", None, 1)
    (rome,) = told["members"]
    assert (rome["name"], rome["site"], rome["why"]) == ("rome-1", "rome", "refused-member")
    assert (rome["produces"], rome["consumes"]) == (None, None)  # no node's channels to ask about, and not "none"
    assert cli.main(["members", "--directory", directory]) == 0
    shown = capsys.readouterr().out
    assert "refused since ever: stolen" in shown
    assert "consumes" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["members"], "One of NODE.yaml and --directory is needed"),
        (["members", "node.yaml", "--directory", "."], "One of NODE.yaml and --directory is needed"),
        (["charter", "show", "node.yaml", "--history"], "--history is for a project's directory"),
        (["charter", "show", "--json", "--history"], "--history has no --json"),
    ],
)
def test_a_node_and_a_project_s_directory_are_told_apart(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err
