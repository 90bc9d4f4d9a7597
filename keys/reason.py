"""Why something was refused: one word per cause, the same word in logs, metrics, answers and vectors."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The cause of a refusal or of a held source partition. The values are part of the format: answers carry them."""

    # What can be said of bytes before anybody is believed.
    FOREIGN = "foreign"  # not ours at all: plaintext, another program's bytes, nothing
    TRUNCATED = "truncated"  # begins as ours and ends too early
    MALFORMED = "malformed"  # ours by its first bytes, but not laid out as FORMAT.md says
    TOO_LARGE = "too-large"  # above a cap that is checked before anything is allocated
    UNKNOWN_TYPE = "unknown-type"
    UNKNOWN_VERSION = "unknown-version"
    UNKNOWN_SUITE = "unknown-suite"
    UNKNOWN_EXTENSION = "unknown-extension"
    LAYOUT_RESERVED = "layout-reserved"  # layout `record`: its number is registered, nothing reads it yet
    OTHER_PROJECT = "other-project"

    # Proof.
    UNKNOWN_SIGNER = "unknown-signer"
    BAD_SIGNATURE = "bad-signature"
    BAD_CIPHERTEXT = "bad-ciphertext"
    BAD_KEY = "bad-key"  # a public key with which nothing can be wrapped
    BAD_COMMITMENT = "bad-commitment"  # the unwrapped secret is not the one that the session id commits to
    SPLICED = "spliced"  # a true statement, used where it does not belong

    # Authority.
    NOT_AUTHORISED = "not-authorised"
    REFUSED_MEMBER = "refused-member"  # the charter refuses this member
    UNKNOWN_MEMBER = "unknown-member"
    EXPIRED = "expired"
    AHEAD = "ahead"  # dated more than five minutes after our own clock: not believed yet
    OUTDATED = "outdated"  # older than what is known and may only grow
    FORK = "fork"  # the same version with other content
    PARDONED = "pardoned"  # a charter that refuses somebody no more, or from a later time on
    DISTRUSTED = "distrusted"  # signed by an authority key that the root no longer trusts

    # Enrolment.
    UNKNOWN_TICKET = "unknown-ticket"
    SPENT = "spent"
    NAME_TAKEN = "name-taken"
    CHANGED_REQUEST = "changed-request"  # the same identity asks again, for something else

    # Sessions.
    UNKNOWN_SESSION = "unknown-session"
    NO_GRANT = "no-grant"
    TOO_MANY = "too-many"  # bounded: claims of one session, claims in all

    # An authentic envelope in the wrong place, or one that says what cannot be.
    MISPLACED = "misplaced"
    IMPLAUSIBLE = "implausible"
    BELOW_FLOOR = "below-floor"
    REGRESSED = "regressed"
    LOST_SPAN = "lost-span"
    NO_START = "no-start"
    GAP = "gap"

    # The site's own side.
    SINK_CHANGED = "sink-changed"
    SINK_REFUSED = "sink-refused"
    OLD_FORMAT = "old-format"  # message format v0 or v1 at the source
    CURSORS_LOST = "cursors-lost"
    CHARTER_OLD = "charter-old"  # above its max_age, or a newer charter or root is known to be signed


class Rejected(Exception):
    """They erred: bytes or statements from outside do not pass. ``detail`` never holds a secret or plaintext.

    ``proven`` tells a refusal of what a member of the project truly signed: evidence, which is kept. All else may be
    anybody's bytes.
    """

    def __init__(self, reason: Reason, detail: str = "", proven: bool = False) -> None:  # noqa: FBT001, FBT002 -- as pickle hands it
        """Say the reason, and in `detail` what was seen."""
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.proven = proven

    def __reduce__(self) -> tuple[type[Rejected], tuple[Reason, str, bool]]:
        """Keep all fields when pickled."""
        return type(self), (self.reason, self.detail, self.proven)


class Misuse(Exception):
    """We erred: a caller of this package passed what its contract excludes. A bug, never the work of the cloud."""
