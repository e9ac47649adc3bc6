"""From a template to the words somebody says: slots filled, habits of speech added."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from edgetran_host.tasks.intents.drawing import chance, pick
from edgetran_host.tasks.intents.grammar import DEV, Grammar, Values
from edgetran_host.tasks.intents.templates import Choice, Slot, Template, Word, parse

UNSEEN = 0.4  # of dev's slots and asides that have such values
CORRECTED = 0.04  # of the slots that can be
OPENED = 0.2  # of all sentences
CLOSED = 0.12
ASIDE = 0.12
FALSE_START = 0.2
LONGEST_START = 6  # words of a sentence that is given up; the fewest are 2

Words = tuple[Word, ...]


@dataclass(frozen=True)
class Speaker:
    """Draws sentences for one split."""

    grammar: Grammar
    split: str
    rng: Random
    said: list[Template] = field(default_factory=list)  # values in this sentence so far

    def say(self, template: Template) -> Words:
        """Maybe an opening, another request given up, an aside; then this one, to its end."""
        speech = self.grammar.speech
        self.said.clear()
        words = self._now_and_then(OPENED, speech.openings)
        if chance(self.rng, FALSE_START):
            words += self._false_start() + self._words(pick(self.rng, speech.corrections))
        elif chance(self.rng, ASIDE):
            words += self._words(self._value(speech.asides))
        return words + self._words(template) + self._now_and_then(CLOSED, speech.closings)

    def _false_start(self) -> Words:
        """The first words of any sentence of the same split."""
        written = pick(self.rng, list(self.grammar.templates.values()))[self.split]
        words = self._words(parse(pick(self.rng, written)))
        return words[: pick(self.rng, range(2, LONGEST_START + 1))]

    def _now_and_then(self, probability: float, templates: tuple[Template, ...]) -> Words:
        if not chance(self.rng, probability):
            return ()
        return self._words(pick(self.rng, templates))

    def _words(self, template: Template) -> Words:
        return tuple(word for part in template for word in self._part(part))

    def _part(self, part: Word | Slot | Choice) -> Words:
        if isinstance(part, Word):
            return (part,)
        if isinstance(part, Choice):
            return self._words(pick(self.rng, part.options))
        words = self._slot(self.grammar.slots[part.name])
        return tuple(Word(word.text, True) for word in words) if part.decides else words

    def _slot(self, values: Values) -> Words:
        value = self._words(self._value(values))
        if not (values.correctable and chance(self.rng, CORRECTED)):
            return value
        correction = self._words(pick(self.rng, self.grammar.speech.corrections))
        return value + correction + self._words(self._value(values))

    def _value(self, values: Values) -> Template:
        """None twice in a sentence: nobody says `from red to red`."""
        unseen = self.split == DEV and values.unseen and chance(self.rng, UNSEEN)
        among = values.unseen if unseen else values.usual
        value = pick(self.rng, [one for one in among if one not in self.said] or among)
        self.said.append(value)
        return value
