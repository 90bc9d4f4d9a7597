"""What a thief carries away: every secret that is anywhere in a vault, or in the memory of a worker that runs."""

from __future__ import annotations

import gc
import random
from asyncio import BaseEventLoop
from contextvars import Context
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from fake_kafka import FakeCluster
from realm import Realm
from sim_broker import Broker
from sim_kafka import View
from simulation import Simulation
from world import World

from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.session import InboundSession, OutboundSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation import Worker

    from sealwire.keys.secrets import Secrets

# What a worker's objects lead to, and is not in its process: the world around it, and the code.
OUTSIDE = (Simulation, World, FakeCluster, View, Broker, Realm, BaseEventLoop, Context, random.Random, ModuleType, type)


@dataclass(frozen=True)
class Loot:
    """Secrets, each as what it is. ``words`` are all 32 bytes long, and of no known kind."""

    sessions: dict[bytes, bytes] = field(default_factory=dict, repr=False)  # session id -> session secret
    receiving: frozenset[ReceivingKey] = field(default=frozenset(), repr=False)
    signing: dict[bytes, SigningKey] = field(default_factory=dict, repr=False)  # by public half
    words: frozenset[bytes] = field(default=frozenset(), repr=False)

    def __or__(self, other: Loot) -> Loot:
        return Loot(
            self.sessions | other.sessions,
            self.receiving | other.receiving,
            self.signing | other.signing,
            self.words | other.words,
        )


def of_secrets(secrets: Secrets) -> Loot:
    """All that a vault holds."""
    return of_objects([secrets])


def of_memory(worker: Worker) -> Loot:
    """All that the process of a worker holds, wherever it holds it: its tasks and their frames included."""
    return of_objects([worker.station])


def of_objects(roots: list[Any]) -> Loot:
    """All secrets that can be reached from these objects."""
    sessions, receiving, signing, words = {}, set(), {}, set()
    for each in _reachable(roots):
        match each:
            case OutboundSession():
                sessions[each.id] = each.secret
            case InboundSession():
                sessions[each.id] = each.secret
            case ReceivingKey():
                receiving.add(each)
            case SigningKey():
                signing[each.public] = each
            case bytes() | bytearray() if len(each) == 32:
                words.add(bytes(each))
            case _:
                pass
    return Loot(sessions, frozenset(receiving), signing, frozenset(words))


def _reachable(roots: list[Any]) -> Iterator[Any]:
    seen: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, OUTSIDE):
            continue
        seen[id(each)] = each
        yield each
        if isinstance(each, FunctionType):
            waiting.extend((each.__closure__, each.__defaults__, each.__kwdefaults__))
        else:
            waiting.extend(gc.get_referents(each))
