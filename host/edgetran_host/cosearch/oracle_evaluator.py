"""An assumed truth as the world of a search: outcomes are drawn as experiments would show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256

import numpy as np

from edgetran_host.cosearch.evaluator import Evaluation, Evaluator, Request
from edgetran_host.cosearch.oracle import Oracle
from edgetran_host.cosearch.outcome import Outcome
from edgetran_host.cosearch.pair import Pair, Place
from edgetran_host.cosearch.space import ProductSpace
from edgetran_host.space.architecture import Architecture, Layer

REFERENCE = Architecture((Layer(768, ("sa_sdp",) * 12, 64, (3072,)),) * 12)  # BERT-Base
ASSUMED = dict.fromkeys((field.name for field in fields(Outcome)), "assumed")


class OracleEvaluator(Evaluator):
    """A request always gives the same: its noise follows from the seeds and the pair."""

    def __init__(self, oracle: Oracle, product: ProductSpace, random_seed: int) -> None:
        self._oracle = oracle
        self._product = product
        self._random_seed = random_seed

    @property
    def product(self) -> ProductSpace:
        return self._product

    def references(self) -> Mapping[Place, Outcome]:
        """BERT-Base, without noise."""
        places = self._product.places
        return dict(zip(places, self._oracle.exact([Pair(REFERENCE, place) for place in places])))

    def evaluate(self, request: Request) -> Evaluation:
        identity = int.from_bytes(sha256(request.pair.id.encode()).digest()[:8], "big")
        rng = np.random.default_rng([self._random_seed, request.seed, identity])
        (outcome,) = self._oracle.measure([request.pair], rng)
        return Evaluation(outcome, 1.0, ASSUMED)
