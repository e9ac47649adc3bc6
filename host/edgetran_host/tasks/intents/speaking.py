"""From a template to the words somebody says: slots filled, habits of speech added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from edgetran_host.tasks.intents.drawing import chance, pick
from edgetran_host.tasks.intents.grammar import DEV, Grammar
from edgetran_host.tasks.intents.templates import Choice, Slot, Template, Word

UNSEEN = 0.4  # of dev's slots that have such values
CORRECTED = 0.04  # of the slots that can be
OPENED = 0.2  # of all sentences
CLOSED = 0.12


@dataclass(frozen=True)
class Speaker:
    """Draws sentences for one split."""

    grammar: Grammar
    split: str
    rng: Random

    def say(self, template: Template) -> tuple[Word, ...]:
        speech = self.grammar.speech
        opening = pick(self.rng, speech.openings) if chance(self.rng, OPENED) else ()
        closing = pick(self.rng, speech.closings) if chance(self.rng, CLOSED) else ()
        return tuple(self._words((*opening, *template, *closing), False))

    def _words(self, template: Template, decides: bool) -> Iterator[Word]:
        for part in template:
            if isinstance(part, Word):
                yield Word(part.text, part.decides or decides)
            elif isinstance(part, Choice):
                yield from self._words(pick(self.rng, part.options), decides)
            else:
                yield from self._slot(part, decides)

    def _slot(self, slot: Slot, decides: bool) -> Iterator[Word]:
        value = list(self._value(slot, decides))
        values = self.grammar.slots[slot.name]
        if values.correctable and chance(self.rng, CORRECTED):
            other = list(self._value(slot, decides))
            if other != value:
                yield from other
                yield from self._words(pick(self.rng, self.grammar.speech.corrections), False)
        yield from value

    def _value(self, slot: Slot, decides: bool) -> Iterator[Word]:
        values = self.grammar.slots[slot.name]
        unseen = self.split == DEV and values.unseen and chance(self.rng, UNSEEN)
        value = pick(self.rng, values.unseen if unseen else values.usual)
        return self._words(value, decides or slot.decides)
