"""The task that ships with edgetran: what to do about a sentence spoken in a smart home."""

from edgetran_host.tasks.intents.generation import Utterance, utterances
from edgetran_host.tasks.intents.writing import write_tables

__all__ = ["Utterance", "utterances", "write_tables"]
