"""Which model serves under which name, and how that changes without a gap.

deploy: verify -> stage -> probe -> switch -> commit. Before the switch nothing
that serves is touched; the switch is one rename of the state file. Whatever fails
leaves the old model serving and a record that says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from edgetran_protos.bundle import check_digest_name, check_model_name
from edgetran_protos.errors import EdgeTranError, ModelUnloaded, UnknownModel, UsageError

from edgetran_daemon.faults import point
from edgetran_daemon.ledger import FAILED, SERVING, Ledger, Names, Record, Slot
from edgetran_daemon.probe import probe
from edgetran_daemon.serving import ServedModel
from edgetran_daemon.store.bundles import BundleStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeployEvent:
    step: str  # "verify", "stage", "probe", "switch", "commit"
    detail: str
    deployment: Optional[Record] = None


class Deployments:
    """The models this daemon serves; `ledger` remembers them across restarts."""

    def __init__(
        self,
        store: BundleStore,
        ledger: Ledger,
        threads: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._threads = threads
        self._clock = clock
        self._served: dict[str, ServedModel] = {}
        self._retiring: set[asyncio.Future[None]] = set()
        self._changing = asyncio.Lock()  # one change at a time: two models' memory, not ten

    @property
    def served(self) -> Mapping[str, ServedModel]:
        return self._served

    def model(self, name: str) -> tuple[str, ServedModel]:
        """An empty name: the only model. Raises UnknownModel, ModelUnloaded."""
        names = sorted(self._served)
        if not name and len(names) == 1:
            name = names[0]
        if name in self._served:
            return name, self._served[name]
        kept = self._ledger.find(name)
        if kept is not None and not kept.loaded:
            raise ModelUnloaded(f"model {name!r} is deployed but not loaded", hint="load it first")
        hint = f"deployed: {', '.join(names)}" if names else "deploy one first"
        what = f"no model {name!r} is deployed" if name else "which model?"
        if not names:
            what = "no model is deployed"
        raise UnknownModel(what, hint=hint)

    def digests(self) -> set[str]:
        return self._ledger.digests()

    def list(self, history: bool) -> list[Record]:
        return [self._honest(record) for record in self._ledger.records(history)]

    def _honest(self, record: Record) -> Record:
        """What should serve but could not be started again does not serve."""
        if record.state != SERVING or record.model in self._served:
            return record
        return replace(record, state=FAILED, reason="it could not be started again")

    async def deploy(
        self, model: str, digest: str, variant: str
    ) -> AsyncGenerator[DeployEvent, None]:
        """Events of each step; the last carries the deployment."""
        check_model_name(model)
        check_digest_name(digest)
        async with self._changing:
            with self._store.pinned(digest):
                events = self._deploy(model, digest, variant)
                try:
                    async for event in events:
                        yield event
                finally:
                    await events.aclose()

    async def _deploy(
        self, model: str, digest: str, variant: str
    ) -> AsyncGenerator[DeployEvent, None]:
        staged: Optional[ServedModel] = None
        try:
            yield DeployEvent("verify", digest)
            bundle = self._store.open(digest)
            size_bytes = await asyncio.to_thread(self._store.verify, bundle)
            chosen = bundle.variant(variant)
            slot = Slot(digest, chosen.name, self._clock(), chosen.size_bytes, bundle.card.task)
            yield DeployEvent("stage", f"{chosen.name}, {size_bytes} bytes verified")
            staged = ServedModel(self._store, bundle, chosen, self._threads)
            loaded = await staged.start()
            point("stage-loaded")
            yield DeployEvent("probe", f"{loaded.runtime}, loaded in {loaded.load_s:.3f} s")
            detail = await probe(staged)
            point("probe-passed")
            yield DeployEvent("switch", detail)
            self._switch(model, slot, staged)
            staged = None
        except EdgeTranError as exc:
            failed = Record.failed(model, digest, variant, str(exc), self._clock())
            self._note(lambda: self._ledger.add(failed))
            raise
        finally:
            if staged is not None:
                await staged.close()
        freed = self._store.collect(self.digests(), self._clock())
        point("deploy-collected")
        detail = f"serving; {freed} bytes of old bundles freed" if freed else "serving"
        yield DeployEvent("commit", detail, Record.of(model, slot, SERVING, detail))

    def _switch(self, model: str, slot: Slot, staged: ServedModel) -> None:
        """No await in here: the file and the memory change together."""
        self._ledger.switch(model, slot)
        point("switch-written")
        self._replace(model, staged)
        point("switch-made")

    def _replace(self, model: str, staged: ServedModel) -> None:
        """The old model ends in the background, after what it is answering."""
        old = self._served.get(model)
        self._served[model] = staged
        if old is not None:
            task = asyncio.ensure_future(old.close())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def rollback(self, model: str, reason: str) -> Record:
        """Back to the previous bundle, which is checked like a new one."""
        async with self._changing:
            names = self._names(model)
            if names.previous is None:
                raise UsageError(f"no model served as {model!r} before this one")
            staged = await self._staged(names.previous)
            slot = names.previous.at(self._clock())
            left = names.current
            self._ledger.roll_back(model, slot, reason or "rolled back by hand", self._clock())
            point("rollback-written")
            self._replace(model, staged)
            return Record.of(model, slot, SERVING, f"rolled back from {left.bundle_digest}")

    async def load(self, model: str) -> None:
        """Serves what was unloaded, checked like a new one; a served model serves on."""
        async with self._changing:
            names = self._names(model)
            if model in self._served:
                return
            staged = await self._staged(names.current)
            try:
                self._ledger.set_loaded(model, True)
            except BaseException:
                await staged.close()
                raise
            self._served[model] = staged

    async def unload(self, model: str) -> None:
        """Deployed, but not served until it is loaded again, restarts included."""
        async with self._changing:
            self._names(model)
            self._ledger.set_loaded(model, False)
            served = self._served.pop(model, None)
            if served is not None:
                await served.close()

    async def remove(self, model: str) -> int:
        """Stops serving; the bytes freed."""
        async with self._changing:
            names = self._names(model)
            self._ledger.remove(model, self._clock())
            point("remove-written")
            served = self._served.pop(model, None)
            if served is not None:
                await served.close()
            gone = [slot.bundle_digest for slot in names.slots()]
            return self._store.free(gone, self.digests())

    def discard(self, digest: str) -> int:
        return self._store.discard(digest, self.digests())

    async def restore(self) -> None:
        """At start: everything that served before, or what served before that."""
        async with self._changing:
            await asyncio.gather(*(self._restore(model) for model in self._ledger.models()))
            self._store.collect(self.digests(), self._clock())

    async def _restore(self, model: str) -> None:
        names = self._names(model)
        if not names.loaded:
            return
        try:
            self._served[model] = await self._staged(names.current)
        except (EdgeTranError, OSError) as exc:  # a failing disk must not take the others along
            log.warning("%s cannot serve again: %s", model, exc)
            await self._fall_back(model, names, str(exc))

    async def _fall_back(self, model: str, names: Names, reason: str) -> None:
        current, previous = names.current, names.previous
        failed = Record.failed(
            model, current.bundle_digest, current.variant, f"at start: {reason}", self._clock()
        )
        if previous is None:
            self._note(lambda: self._ledger.add(failed))
            return
        try:
            self._served[model] = await self._staged(previous)
        except (EdgeTranError, OSError) as exc:
            log.warning("nor can what served as %s before: %s", model, exc)
            self._note(lambda: self._ledger.add(failed))
            return
        slot = previous.at(self._clock())
        self._note(lambda: self._ledger.fall_back(model, slot, failed))

    def _note(self, write: Callable[[], None]) -> None:
        """What cannot be written down (a full disk) neither hides the reason nor stops serving."""
        try:
            write()
        except (EdgeTranError, OSError) as exc:
            log.error("the record of deployments cannot be written: %s", exc)

    async def _staged(self, slot: Slot) -> ServedModel:
        """Verified, loaded and probed."""
        bundle = self._store.open(slot.bundle_digest)
        await asyncio.to_thread(self._store.verify, bundle)
        staged = ServedModel(self._store, bundle, bundle.variant(slot.variant), self._threads)
        try:
            await staged.start()
            await probe(staged)
        except BaseException:
            await staged.close()
            raise
        return staged

    async def close(self) -> None:
        await asyncio.gather(*(served.close() for served in self._served.values()))
        await asyncio.gather(*self._retiring)

    def _names(self, model: str) -> Names:
        names = self._ledger.find(model)
        if names is None:
            known = ", ".join(self._ledger.models()) or "none"
            raise UnknownModel(f"no model {model!r} is deployed", hint=f"deployed: {known}")
        return names
