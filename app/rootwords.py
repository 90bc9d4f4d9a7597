"""Roots in words, for those who sign them: what one says, and in what the next one differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.app.inspect import stamp
from sealwire.keys import identity as identities
from sealwire.keys import primitives

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.root import Draft, Root, RootFields


def fingerprint(public: bytes) -> str:
    """Write a public key the way people compare it, such as `1f2e-9a07-44c1-d003`."""
    return identities.fingerprint(primitives.sha256(public))


def said(root: RootFields) -> list[str]:
    """What a root says, a line each."""
    lines = [f"root keys, {root.threshold} of {len(root.root_keys)} sign the next root:"]
    lines += [f"  {fingerprint(public)}" for _, public in root.root_keys]
    distrusted = dict(root.distrusted)
    for _, public, until in root.authority_keys:
        since = distrusted.get(public)
        never = "" if since is None else f", distrusted since {stamp(since)}"
        lines.append(f"authority key {fingerprint(public)} until {stamp(until)}{never}")
    lines += [f"escrow {name} {fingerprint(receiving)}" for name, _, receiving in root.escrow]
    return lines


def differences(former: Root, fields: RootFields) -> list[str]:
    """In what a root differs from the one before it, a line each; empty where it is the same but for its date."""
    lines: list[str] = []
    if fields.project_name != former.project_name:
        lines.append(f"PROJECT NAME {former.project_name} becomes {fields.project_name}")
    lines += _came_and_went(
        "root key", [public for _, public in former.root_keys], [public for _, public in fields.root_keys]
    )
    if (fields.threshold, len(fields.root_keys)) != (former.threshold, len(former.root_keys)):
        before, after = (
            f"{former.threshold} of {len(former.root_keys)}",
            f"{fields.threshold} of {len(fields.root_keys)}",
        )
        lines.append(f"changes how many root keys must sign: {before} becomes {after}")
    before_ends = {public: until for _, public, until in former.authority_keys}
    after_ends = {public: until for _, public, until in fields.authority_keys}
    lines += _came_and_went("authority key", before_ends, after_ends)
    for public, until in after_ends.items():
        if public not in before_ends:
            lines.append(f"  {fingerprint(public)} ends {stamp(until)}")
        elif until != before_ends[public]:
            lines.append(
                f"changes the end of authority key {fingerprint(public)}: {stamp(before_ends[public])} becomes "
                f"{stamp(until)}"
            )
    lines += _distrust(former, fields)
    before_escrow = {(name, receiving) for name, _, receiving in former.escrow}
    after_escrow = {(name, receiving) for name, _, receiving in fields.escrow}
    lines += [
        f"adds escrow {name} {fingerprint(receiving)}: whoever has its private half opens all sessions from then on"
        for name, receiving in sorted(after_escrow - before_escrow)
    ]
    lines += [
        f"removes escrow {name} {fingerprint(receiving)}: it opens what was sealed until then"
        for name, receiving in sorted(before_escrow - after_escrow)
    ]
    return lines


def _came_and_went(what: str, before: Iterable[bytes], after: Iterable[bytes]) -> list[str]:
    before, after = list(before), list(after)
    return [f"adds {what} {fingerprint(public)}" for public in after if public not in before] + [
        f"removes {what} {fingerprint(public)}" for public in before if public not in after
    ]


def _distrust(former: Root, fields: RootFields) -> list[str]:
    before, after = dict(former.distrusted), dict(fields.distrusted)
    lines = [
        f"distrusts authority key {fingerprint(public)} since {stamp(since)}: what it dates then and later counts no "
        f"more"
        if since
        else f"distrusts authority key {fingerprint(public)}: nothing that it ever signed counts any more"
        for public, since in after.items()
        if before.get(public) != since
    ]
    return lines + [f"TRUSTS AGAIN authority key {fingerprint(public)}" for public in before if public not in after]


def progress(draft: Draft) -> list[str]:
    """Who has signed a draft, and who is still to sign, a line each."""
    publics = dict.fromkeys(public for _, public in (*draft.former.root_keys, *draft.fields.root_keys))
    lines = [
        f"  {fingerprint(public)} {'has signed' if draft.signed_by(public) else 'has not signed'}" for public in publics
    ]
    return ["signatures:", *lines, lacking(draft)]


def lacking(draft: Draft) -> str:
    """What signatures a draft lacks, in a sentence."""
    former, new = draft.lacking
    if not former and not new:
        return "It has the signatures that both roots ask for: sealwire root finish"
    parts = []
    if former:
        parts.append(f"{former} more of the keys of root {draft.former.version}")
    if new:
        parts.append(f"{new} more of the keys of root {draft.fields.version}")
    return f"It lacks {' and '.join(parts)}: sealwire root sign, at their holders"
