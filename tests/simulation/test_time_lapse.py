"""Weeks with members that come and go: every record once, every rotation when due, no secret past its time.

Eight days by default; `make simulation DAYS=90 ARGS="-k months"` is the measure, of some minutes.
"""

from __future__ import annotations

import time

import pytest
from lapse import DAY, DAYS, HOUR, MEMBERS, MINUTE, Lapse, three_channels

AUTHORITY_AWAY = (DAYS // 3, DAYS // 3 + 2)  # days
WORDS = (
    "lapse: {days} days in {seconds:.0f} s of the processor: {records} records, {counts}; longest (hours): {longest}"
)


def lapse(seed: int, days: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let so many days pass, and look every few hours; gives what there was."""
    began = time.process_time()
    with three_channels(monkeypatch):
        run = Lapse(seed, monkeypatch)
        dice, loop = run.dice, run.loop
        end = loop.time() + days * DAY
        kill_at, absent_at, retain_at, look_at = dice.uniform(4, 20) * HOUR, 2 * DAY, DAY, 0.0
        while loop.time() < end:
            day = loop.time() / DAY
            run.answering = not AUTHORITY_AWAY[0] <= day < AUTHORITY_AWAY[1]
            for part in range(4):
                run.send(part, dice.randint(1, 3), 0)
            loop.run_for(dice.uniform(1, 2.5) * HOUR)
            run.office()
            if loop.time() >= kill_at:
                name = dice.choice([each for each in MEMBERS if each not in run.away])
                run.kill(name)
                run.register.counts["kills"] += 1
                run.away[name] = loop.time() + dice.choice((MINUTE, 20 * MINUTE, 5 * HOUR))
                kill_at = loop.time() + dice.uniform(16, 48) * HOUR
            if loop.time() >= absent_at:
                here = [each for each in MEMBERS if each not in run.away]
                two = [each for each in here if sum(other[0] == each[0] for other in here) > 1]
                if two:  # somebody of its kind goes on
                    name = dice.choice(two)
                    run.kill(name)
                    run.register.counts["absences"] += 1
                    run.away[name] = loop.time() + dice.uniform(1, 2.5) * DAY
                    absent_at = loop.time() + dice.uniform(5, 10) * DAY
            for name in [each for each, until in run.away.items() if until <= loop.time()]:
                del run.away[name]
                run.start(name)
            if loop.time() >= retain_at:
                run.retain()
                retain_at = loop.time() + DAY
            run.look(secrets=loop.time() >= look_at)
            if loop.time() >= look_at:
                look_at = loop.time() + 9 * HOUR
        for name in list(run.away):
            run.start(name)
        run.answering = True
        run.office()
        assert loop.run_until(run.model.whole, 3 * HOUR, MINUTE), run.model.behind()
        run.look()
        longest = {what: round(seconds / HOUR, 1) for what, seconds in run.register.longest.items()}
        counts, records = dict(run.register.counts), sum(run.model.got)
        run.close()
    seconds = time.process_time() - began
    return WORDS.format(days=days, seconds=seconds, records=records, counts=counts, longest=longest)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("seed", [1])
def test_months_pass_and_every_record_comes_once_every_rotation_when_due_and_no_secret_stays(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(lapse(seed, DAYS, monkeypatch))
