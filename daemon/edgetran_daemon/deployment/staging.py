"""Models that are started but do not serve yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from edgetran_protos.bundle import Variant

from edgetran_daemon.deployment.ledger import Slot
from edgetran_daemon.deployment.probe import probe
from edgetran_daemon.serving.served_model import ServedModel
from edgetran_daemon.serving.serving_rules import ServingRule
from edgetran_daemon.store.bundles import BundleStore, StoredBundle


@dataclass(frozen=True)
class Staging:
    store: BundleStore
    threads: int
    rule: ServingRule

    def new(self, model: str, bundle: StoredBundle, variant: Variant) -> ServedModel:
        """To be started; model: the name it is to serve under."""
        return ServedModel(self.store, bundle, variant, self.threads, self.rule, model)

    async def staged(self, model: str, slot: Slot) -> ServedModel:
        """Verified, loaded and probed."""
        bundle = self.store.open(slot.bundle_digest)
        await asyncio.to_thread(self.store.verify, bundle)
        found = self.new(model, bundle, bundle.variant(slot.variant))
        try:
            await found.start()
            await probe(found)
        except BaseException:
            await found.close()
            raise
        return found
