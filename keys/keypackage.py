"""The key package: a reader's receiving keys, announced ahead, each for a window of time.

    fields = [member id, serial of the credential, made_at, [[window start, window end, suite, public key]]]

Windows are numbered by their start (ms) and rise by (start, end), each once. Short ones last four hours and begin at
multiples of four hours since 1970 UTC; they cover 72 hours from the present one on. Then follow eleven of a day, which
begin at multiples of 24 hours, the first of them where the last short one ends or up to a day before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import wire
from sealwire.keys.parsing import Parser
from sealwire.keys.primitives import RECEIVING_SIZE, SUITE, Random, ReceivingKey
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import ENTRY_SIZE, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.credential import CredentialFields
    from sealwire.keys.identity import Identity
    from sealwire.keys.primitives import Verify

HOUR: Final = 3600 * 1000  # ms
SHORT: Final = 4 * HOUR
DAY: Final = 24 * HOUR
SHORT_COUNT: Final = 18
DAY_COUNT: Final = 11
LONG_OVER: Final = 30 * DAY
GRACE: Final = 24 * HOUR  # how long after its window's end a receiving key is kept

Receiving = Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]  # its length comes from the suite


class Window(Fields, frozen=True):
    """One receiving key, and the time of a sender's clock it is for: start <= clock < end (ms)."""

    start: wire.Time
    end: wire.Time
    suite: wire.U8
    public: Receiving


class KeyPackageFields(Fields, frozen=True):
    """What a key package says."""

    member_id: wire.Id
    serial: wire.Serial
    made_at: wire.Time
    windows: Annotated[tuple[Window, ...], msgspec.Meta(min_length=1, max_length=64)]


class KeyPackage(KeyPackageFields, frozen=True):
    """A key package whose signature was checked."""

    digest: bytes
    entry: bytes  # who signed, and the signature


@dataclass(frozen=True)
class HeldKey:
    """The private half of one window of our own."""

    start: int  # ms
    end: int  # ms
    receiving: ReceivingKey = field(repr=False)


_DECODER: Final = msgspec.msgpack.Decoder(KeyPackageFields)


def wanted(now: int) -> tuple[tuple[int, int], ...]:
    """Give the windows (start, end) that a package made now announces, in their order."""
    first = now - now % SHORT
    short = [(first + step * SHORT, first + (step + 1) * SHORT) for step in range(SHORT_COUNT)]
    beyond = short[-1][1]
    day = beyond - beyond % DAY
    return tuple(sorted([*short, *((day + step * DAY, day + (step + 1) * DAY) for step in range(DAY_COUNT))]))


def renew(
    identity: Identity,
    credential: CredentialFields,
    project_id: bytes,
    held: tuple[HeldKey, ...],
    now: int,
    random: Random,
    *,
    anew: bool = False,
) -> tuple[tuple[HeldKey, ...], bytes | None]:
    """Make the receiving keys that are missing; give all held ones and the package to publish.

    The package is None when no window has moved: then nothing new is held, and what was published stands (`announce`
    makes it again, for a start after which nobody knows whether it was). Keys that ended stay held, for `expire`.

    With `anew` every window gets another key, as after a theft. The former ones stay held as long as ever, since what
    waits in the cloud was wrapped for them; so do senders that the new package has not reached.
    """
    have = set() if anew else {(each.start, each.end) for each in held}
    missing = [window for window in wanted(now) if window not in have]
    if not missing:
        return held, None
    made = tuple(HeldKey(start, end, ReceivingKey.create(random)) for start, end in missing)
    held = tuple(sorted((*held, *made), key=lambda each: (each.start, each.end)))
    return held, announce(identity, credential, project_id, held, now)


def announce(
    identity: Identity, credential: CredentialFields, project_id: bytes, held: tuple[HeldKey, ...], now: int
) -> bytes:
    """Sign a key package of the windows wanted now, out of those held. To hold none of them is `Misuse`."""
    newest = {(each.start, each.end): each.receiving.public for each in held}  # of one window the last was made last
    fields = KeyPackageFields(
        member_id=identity.member_id,
        serial=credential.serial,
        made_at=now,
        windows=tuple(Window(*window, SUITE, newest[window]) for window in wanted(now) if window in newest),
    )
    if not fields.windows:
        raise Misuse("no receiving key is held for any window wanted now")
    return wire.write(Type.KEY_PACKAGE, project_id, fields, [identity.signing])


def expire(held: tuple[HeldKey, ...], now: int, grace: int = GRACE) -> tuple[HeldKey, ...]:
    """Give the held keys without those whose windows ended more than `grace` ms ago."""
    return tuple(each for each in held if each.end + grace > now)


parse: Final = Parser(Type.KEY_PACKAGE, _DECODER)
"""Takes a key package apart, unproven, or raises `Rejected`; one just read is not parsed again."""


def peek(statement: bytes, project_id: bytes) -> KeyPackageFields:
    """Read what a key package says, unproven; raise `Rejected` for what is none."""
    return parse(statement, project_id)[0]


def long_over(credential: CredentialFields, now: int) -> bool:
    """Tell whether a member's credential ended so long ago that its key package is not looked at.

    Not at once: where our clock is wrong by less, its package must be there when that is mended.
    """
    return credential.not_after + LONG_OVER < now


def outlived(package: KeyPackageFields, credential: CredentialFields, now: int) -> bool:
    """Tell whether a package is older than the credential that it was made under can be, whichever is known by now.

    A credential holds at its package's date, and for no longer than the member's present one does. Renewals that are
    shown without the newer packages bring no receiving key back that was replaced.
    """
    if package.serial == credential.serial:
        return False  # as long as that one holds
    return package.made_at + credential.not_after - credential.not_before < now


def read(
    statement: bytes, project_id: bytes, credential: CredentialFields, now: int, verify: Verify | None = None
) -> KeyPackage:
    """Read the key package of the member whose present credential this is, or raise `Rejected`."""
    fields, frame = parse(statement, project_id)
    if any(window.start >= window.end for window in fields.windows) or any(
        (before.start, before.end) >= (after.start, after.end) for before, after in pairwise(fields.windows)
    ):
        raise Rejected(Reason.MALFORMED, "windows not in rising order")
    if any(window.suite == SUITE and len(window.public) != RECEIVING_SIZE for window in fields.windows):
        raise Rejected(Reason.BAD_KEY, "a receiving key of another length than its suite's")
    if fields.member_id != credential.member_id:
        raise Rejected(Reason.SPLICED, "the key package of another member")
    if fields.made_at > now + SKEW:
        raise Rejected(Reason.AHEAD, f"a key package of {fields.made_at}, while our clock says {now}")
    wire.check_signers(frame, credential.identity_key, verify=verify)
    return KeyPackage(**msgspec.structs.asdict(fields), digest=frame.digest, entry=statement[-ENTRY_SIZE:])


def pick(package: KeyPackageFields, now: int, used: int = 0) -> tuple[int, bytes]:
    """Choose the receiving key to wrap for now: (window start, public key).

    It is the one whose window holds the sender's clock: a short window before a long one, then the later start, and
    none that was over at `used`, the latest start that this sender has used for this reader: no clock that goes back
    brings an old key back. (The first long window starts before the last short ones, and is needed after them.)
    Raises `Rejected` (expired) where there is none.
    """
    live = [
        window for window in package.windows if window.suite == SUITE and max(used, window.start) <= now < window.end
    ]
    if not live:
        raise Rejected(Reason.EXPIRED, f"no receiving key of {package.member_id.hex()[:16]} is for {now}")
    best = min(live, key=lambda window: (window.end - window.start, -window.start))
    return best.start, best.public


def differs(former: KeyPackageFields, package: KeyPackageFields) -> bool:
    """Tell whether a window that both announce has another receiving key in the newer one."""
    before = {(window.start, window.end, window.suite): window.public for window in former.windows}
    return any(
        before.get((window.start, window.end, window.suite), window.public) != window.public
        for window in package.windows
    )


def live_until(package: KeyPackageFields) -> int:
    """Give the end (ms) of the last window that can be wrapped for."""
    return max((window.end for window in package.windows if window.suite == SUITE), default=0)


def held_for(held: Sequence[HeldKey], start: int) -> list[HeldKey]:
    """Give the held keys whose windows start then: a short and a day-long one may share it, and one be made anew."""
    return [each for each in held if each.start == start]
