"""Which model serves under which name, and how that changes without a gap.

deploy: verify -> stage -> probe -> canary -> switch -> watch -> commit, or back. Before
the switch nothing that serves is touched; the switch is one rename of the state file.
Whatever fails leaves the old model serving, or brings it back, and a record that says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from edgetran_devices import UnitModel
from edgetran_protos.bundle import check_digest_name, check_model_name
from edgetran_protos.errors import (
    BoardBusy,
    BoardError,
    EdgeTranError,
    ModelUnloaded,
    OlderBundle,
    RolledBack,
    UnknownModel,
    UsageError,
)

from edgetran_daemon.deployment.canary import Contender, canary
from edgetran_daemon.deployment.choosing import choose
from edgetran_daemon.deployment.conduct import Conduct
from edgetran_daemon.deployment.ledger import SERVING, Ledger, Names, Record, Slot, Trial
from edgetran_daemon.deployment.probe import probe
from edgetran_daemon.deployment.promise import promised_p99_s
from edgetran_daemon.deployment.restoration import Restoration
from edgetran_daemon.deployment.retiring import Retiring
from edgetran_daemon.deployment.rules import DEFAULT_RULES, Rules
from edgetran_daemon.deployment.staging import Staging
from edgetran_daemon.deployment.standing import standing
from edgetran_daemon.deployment.watch import Verdict, watched
from edgetran_daemon.faults import point
from edgetran_daemon.serving.served_model import ServedModel
from edgetran_daemon.serving.statistics import Statistics
from edgetran_daemon.store.bundles import LOOSE_S, BundleStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeployEvent:
    step: str  # "verify", "stage", "probe", "canary", "switch", "watch", "commit"
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
        rules: Rules = DEFAULT_RULES,
        unit: Optional[UnitModel] = None,  # of an emulated board
    ) -> None:
        self._store = store
        self._unit = unit
        self._ledger = ledger
        self._threads = threads
        self._clock = clock
        self._rules = rules
        self._staging = Staging(store, threads, rules.serving)
        self._served: dict[str, ServedModel] = {}
        self._retiring = Retiring()
        self._watches: dict[str, asyncio.Future[Verdict]] = {}
        self._steady: Optional[asyncio.Future[None]] = None
        self._changing = asyncio.Lock()  # one change at a time: two models' memory, not ten

    @property
    def served(self) -> Mapping[str, ServedModel]:
        return self._served

    def model(self, name: str) -> tuple[str, ServedModel]:
        """An empty name: the only model. Raises UnknownModel, ModelUnloaded."""
        if name in self._served:
            return name, self._served[name]
        names = sorted(self._served)
        if not name and len(names) == 1:
            return names[0], self._served[names[0]]
        kept = self._ledger.find(name)
        if kept is not None and not kept.loaded:
            raise ModelUnloaded(f"model {name!r} is deployed but not loaded", hint="load it first")
        hint = f"deployed: {', '.join(names)}" if names else "deploy one first"
        what = f"no model {name!r} is deployed" if name else "which model?"
        if not names:
            what = "no model is deployed"
        raise UnknownModel(what, hint=hint)

    def ready(self, name: str) -> Optional[bool]:
        """Whether it would answer now; None: no model is deployed under that name."""
        if name in self._served:
            return self._served[name].ready
        return None if self._ledger.find(name) is None else False

    def digests(self) -> set[str]:
        return self._ledger.digests()

    def list(self, history: bool) -> list[Record]:
        return [standing(r, self._served.get(r.model)) for r in self._ledger.records(history)]

    async def deploy(
        self,
        model: str,
        digest: str,
        variant: str,
        *,
        follow: bool = False,
        allow_older: bool = False,
    ) -> AsyncGenerator[DeployEvent, None]:
        """Events of each step; the last carries the deployment. follow: to the watch's end."""
        check_model_name(model)
        check_digest_name(digest)
        async with self._changing:
            with self._store.pinned(digest):
                events = self._deploy(model, digest, variant, allow_older)
                try:
                    async for event in events:
                        yield event
                finally:
                    await events.aclose()
            watch = self._watches.get(model)
        if follow and watch is not None:
            yield await self._followed(model, watch)

    async def _followed(self, model: str, watch: asyncio.Future[Verdict]) -> DeployEvent:
        """Raises RolledBack, BoardError."""
        await asyncio.wait([watch])
        if watch.cancelled():
            raise BoardError(
                "the watch was cut short by another change or the daemon's end",
                hint="the deployments' history says how it ended",
            )
        verdict = watch.result()
        if not verdict.well:
            raise RolledBack(verdict.reason, hint="what served before it serves again")
        record = Record.of(model, self._names(model).current, SERVING, verdict.reason)
        return DeployEvent("commit", verdict.reason, record)

    async def _deploy(
        self, model: str, digest: str, variant: str, allow_older: bool
    ) -> AsyncGenerator[DeployEvent, None]:
        staged: Optional[ServedModel] = None
        try:
            yield DeployEvent("verify", digest)
            self._check_count(model)
            bundle = self._store.open(digest)
            self._check_order(model, bundle.card.sequence, allow_older)
            size_bytes = await asyncio.to_thread(self._store.verify, bundle)
            choice = await choose(self._store, bundle, variant, self._threads, self._unit)
            chosen, why = choice.variant, str(choice)
            task, signer = bundle.card.task, bundle.signed_by
            slot = Slot(digest, chosen.name, self._clock(), chosen.size_bytes, task, why, signer)
            signed = f", signed by {signer}" if signer else ""
            detail = f"{chosen.name}, {size_bytes} bytes verified{signed}"
            yield DeployEvent("stage", f"{detail}; {why}" if why else detail)
            staged = self._staging.new(model, bundle, chosen)
            loaded = await staged.start(aside=True)
            point("stage-loaded")
            yield DeployEvent("probe", f"{loaded.runtime}, loaded in {loaded.load_s:.3f} s")
            detail = await probe(staged)
            point("probe-passed")
            staged.bring_forward()  # the canary judges its times
            yield DeployEvent("canary", detail)
            passed = await canary(*self._contenders(model, staged))
            staged.statistics = Statistics()  # of clients' requests alone
            point("canary-passed")
            yield DeployEvent("switch", passed.detail)
            self._switch(model, slot, staged, Trial(bundle.card.sequence, passed.p99_s))
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
        record = Record.of(model, slot, SERVING)
        if self._rules.watch.seconds:
            rule = self._rules.watch
            detail = f"until {rule.requests} answers or {rule.seconds:.0f} s went well"
            yield DeployEvent("watch", detail, record)
        else:
            detail = f"serving; {freed} bytes of old bundles freed" if freed else "serving"
            yield DeployEvent("commit", detail, record)

    def _check_count(self, model: str) -> None:
        known = self._ledger.models()
        if model not in known and len(known) >= self._rules.max_models:
            raise BoardBusy(
                f"the board has {len(known)} models, its limit",
                hint=f"remove one of: {', '.join(known)}",
            )

    def _check_order(self, model: str, sequence: int, allow_older: bool) -> None:
        """Raises OlderBundle."""
        floor = self._ledger.floor(model)
        if sequence >= floor or (allow_older and not self._rules.strict_order):
            return
        hint = "deploy a newer one"
        if not self._rules.strict_order:
            hint += ", or allow older ones for this deployment"
        raise OlderBundle(
            f"the bundle's sequence is {sequence}; {floor} was committed as {model!r}", hint=hint
        )

    def _contenders(self, model: str, new: ServedModel) -> tuple[Contender, Optional[Contender]]:
        old = self._served.get(model)
        return self._contender(new), self._contender(old) if old is not None else None

    def _contender(self, model: ServedModel) -> Contender:
        promised = promised_p99_s(model.card, model.variant, self._rules.place)
        return Contender(model, promised)

    def _switch(self, model: str, slot: Slot, staged: ServedModel, trial: Trial) -> None:
        """No await in here: the file and the memory change together."""
        if self._rules.watch.seconds:
            self._ledger.switch(model, slot, trial)
        else:
            self._ledger.switch(model, slot, committed_sequence=trial.sequence)
        point("switch-written")
        self._replace(model, staged)
        point("switch-made")

    def _replace(self, model: str, staged: ServedModel) -> None:
        """The old model ends in the background, after what it is answering."""
        old = self._served.get(model)
        self._served[model] = staged
        self._begin_watch(model)
        if old is not None:
            self._retiring.begin(old.close())

    async def rollback(self, model: str, reason: str) -> Record:
        """Back to the previous bundle, which is checked like a new one."""
        async with self._changing:
            names = self._names(model)
            if names.previous is None:
                raise UsageError(f"no model served as {model!r} before this one", hint="deploy one")
            sequence = self._store.open(names.previous.bundle_digest).card.sequence
            if self._rules.strict_order:
                self._check_order(model, sequence, allow_older=False)
            return await self._go_back(model, names.previous, reason or "rolled back by hand")

    async def load(self, model: str) -> None:
        """Serves what was unloaded, checked like a new one; a served model serves on."""
        async with self._changing:
            names = self._names(model)
            if model in self._served:
                return
            staged = await self._staging.staged(model, names.current)
            try:
                self._ledger.set_loaded(model, True)
            except BaseException:
                await staged.close()
                raise
            self._served[model] = staged
            self._begin_watch(model)

    async def unload(self, model: str) -> None:
        """Deployed, but not served until it is loaded again, restarts included."""
        async with self._changing:
            self._names(model)
            self._ledger.set_loaded(model, False)
            served = self._served.pop(model, None)
            self._begin_watch(model)
            if served is not None:
                await self._retiring.to_its_end(served.close())

    async def remove(self, model: str) -> int:
        """Stops serving; the bytes freed."""
        async with self._changing:
            names = self._names(model)
            self._ledger.remove(model, self._clock())
            point("remove-written")
            served = self._served.pop(model, None)
            self._begin_watch(model)
            return await self._retiring.to_its_end(self._freed(names.slots(), served))

    async def _freed(self, gone: Sequence[Slot], served: Optional[ServedModel]) -> int:
        """The bytes of bundles that go once the model which used them has ended."""
        if served is not None:
            await served.close()
        return self._store.free([slot.bundle_digest for slot in gone], self.digests())

    async def tidy(self, loose_s: float = LOOSE_S) -> int:
        """Removes what no deployment names and nobody asked for lately; the bytes freed."""
        async with self._changing:
            return self._store.collect(self.digests(), self._clock(), loose_s)

    def discard(self, digest: str) -> int:
        return self._store.discard(digest, self.digests())

    async def restore(self) -> None:
        """At start: everything that served before, or what served before that."""
        async with self._changing:
            if self._ledger.models():
                self._note(self._ledger.count_start)
            await Restoration(self._ledger, self._staging.staged, self._served, self._clock).run()
            self._store.collect(self.digests(), self._clock())
        for model in self._served:
            self._begin_watch(model)
        self._steady = asyncio.ensure_future(self._lasts())

    async def _lasts(self) -> None:
        """This start did not end the daemon; what might have is loaded now."""
        await asyncio.sleep(self._rules.steady_s)
        async with self._changing:
            late = [m for m in self._ledger.models() if self._names(m).late]
            self._note(self._ledger.steady)
            for model in late:
                if model not in self._served:
                    try:
                        current = self._names(model).current
                        self._served[model] = await self._staging.staged(model, current)
                    except (EdgeTranError, OSError) as exc:
                        log.warning("%s cannot serve again: %s", model, exc)

    def _note(self, write: Callable[[], None]) -> None:
        """What cannot be written down (a full disk) neither hides the reason nor stops serving."""
        try:
            write()
        except (EdgeTranError, OSError) as exc:
            log.error("the record of deployments cannot be written: %s", exc)

    def _begin_watch(self, model: str) -> None:
        """In place of the one before. None for a model that is committed or serves no longer."""
        names, served = self._ledger.find(model), self._served.get(model)
        before = self._watches.pop(model, None)
        if before is not None and before is not asyncio.current_task():  # it may be rolling back
            before.cancel()
        if served is not None and names is not None and names.trial is not None:
            served.conduct = Conduct()
            self._watches[model] = asyncio.ensure_future(self._watch(model, served, names))

    async def _watch(self, model: str, served: ServedModel, names: Names) -> Verdict:
        p99_s = names.trial.p99_s if names.trial else None
        verdict = await watched(served, self._rules.watch, p99_s)
        async with self._changing:
            if self._served.get(model) is not served:
                return Verdict(False, "another change came before the watch ended")
            point("watch-ended")
            if verdict.well or names.previous is None:
                reason = verdict.reason
                if not verdict.well:
                    reason = f"nothing served before it, so it stays: {reason}"
                self._note(lambda: self._ledger.commit(model, reason, self._clock()))
                return Verdict(True, reason)
            try:
                await self._go_back(model, names.previous, verdict.reason)
            except (EdgeTranError, OSError) as exc:
                log.error("%s (%s) cannot be rolled back: %s", model, verdict.reason, exc)
                return Verdict(True, f"{verdict.reason}; but what served before cannot: {exc}")
            return verdict

    async def _go_back(self, model: str, previous: Slot, reason: str) -> Record:
        left, staged = self._names(model).current, await self._staging.staged(model, previous)
        slot = previous.at(self._clock())
        try:
            self._ledger.roll_back(model, slot, reason, self._clock())
        except BaseException:
            await staged.close()
            raise
        point("rollback-written")
        self._replace(model, staged)
        return Record.of(model, slot, SERVING, f"rolled back from {left.bundle_digest}: {reason}")

    async def stop_watching(self) -> None:
        """Before the daemon ends: what served until now started well; a watch begins anew."""
        for watch in self._watches.values():
            watch.cancel()
        if self._watches:
            await asyncio.wait(list(self._watches.values()))
        if self._steady is not None and self._steady.cancel():
            self._note(self._ledger.steady)

    async def close(self) -> None:
        await self.stop_watching()
        await asyncio.gather(*(served.close() for served in self._served.values()))
        await self._retiring.close()

    def _names(self, model: str) -> Names:
        names = self._ledger.find(model)
        if names is None:
            known = ", ".join(self._ledger.models()) or "none"
            raise UnknownModel(f"no model {model!r} is deployed", hint=f"deployed: {known}")
        return names
