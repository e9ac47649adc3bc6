"""The rows of the task: drawn from the grammar, heard through noise, no two alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from edgetran_host.tasks.intents.drawing import shuffled
from edgetran_host.tasks.intents.grammar import DEV, SPLITS, TRAIN, grammar
from edgetran_host.tasks.intents.noise import hear, spoken
from edgetran_host.tasks.intents.speaking import Speaker
from edgetran_host.tasks.intents.templates import parse

SEED = "edgetran intents 1"
ROWS = {TRAIN: 200, DEV: 40}  # of each intent
OUT_OF_SCOPE = "out_of_scope"
OUT_OF_SCOPE_FACTOR = 3  # it has as many shapes as several intents together
MAX_ROUNDS = 100  # through an intent's templates; far more than it takes


@dataclass(frozen=True)
class Utterance:
    spoken: str
    heard: str  # what the model gets to read
    intent: str
    template: str


@lru_cache(maxsize=len(SPLITS))
def utterances(split: str) -> tuple[Utterance, ...]:
    """The same in every run, in an order that makes every beginning a fair sample."""
    found = [utterance for intent in grammar().templates for utterance in _of_intent(split, intent)]
    return tuple(shuffled(_rng(split, "order"), found))


def _of_intent(split: str, intent: str) -> list[Utterance]:
    """Every template gets its turn, so that a long list of one does not drown the others."""
    wanted = ROWS[split] * (OUT_OF_SCOPE_FACTOR if intent == OUT_OF_SCOPE else 1)
    found: dict[str, Utterance] = {}
    for utterance in _endless(split, intent):
        found.setdefault(utterance.heard, utterance)
        if len(found) == wanted:
            return list(found.values())
    raise ValueError(f"{intent} can say only {len(found)} different sentences, not {wanted}")


def _endless(split: str, intent: str) -> Iterator[Utterance]:
    rng = _rng(split, intent)
    speaker = Speaker(grammar(), split, rng)
    templates = [(text, parse(text)) for text in grammar().templates[intent][split]]
    for _ in range(MAX_ROUNDS):
        for text, template in shuffled(rng, templates):
            words = speaker.say(template)
            yield Utterance(spoken(words), hear(words, rng), intent, text)


def _rng(split: str, part: str) -> Random:
    """A text seeds by its digest, which is the same in every process; its hash is not."""
    return Random(f"{SEED} {split} {part}")
