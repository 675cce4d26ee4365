"""The data agent of one site: observe the region's nodes, decide, start this site's engine, watch it, start it again.

`run` serves until it is cancelled, and ends the engine in order then.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path

from moonbow.base.errors import ConfigError, Unavailable
from moonbow.base.files import bound_log
from moonbow.base.http import HttpServer, Page
from moonbow.wire.data import DataReport, encode_report
from moonbow.world import Ports, SiteRef, World, data_voters, site_address

from .adapters.engine import Engine, Node, Witness
from .adapters.peers import Peer, peer_context
from .adapters.sql import LocalSql
from .flush import FLUSH_S, Flusher
from .galera import node_settings, render_accounts
from .model import INCONSISTENT, NodeStatus, Position
from .pages import Facts, answer
from .policy import Action, Decision, Reports, decide_running, decide_start, is_apart
from .seaweed import weed_files

LOOK_S = 0.25  # between two looks at a node that does not serve, and at its peers
CALM_S = 1.0  # at one that serves
STALE_S = 3.0  # after which a peer's report counts no more
RECOVER_AGAIN_S = 30.0  # for others to serve, before a position that could not be found out is looked for again
HANG_S = 30.0  # without an answer of an engine that answered before
PAUSE_FIRST_S, PAUSE_MAX_S = 0.2, 5.0  # before an engine that ended is started again
LOG_S = 5.0

log = logging.getLogger("moonbow.data")


class _Run:
    """One run of the engine: when it last answered and was last with the majority (monotonic)."""

    def __init__(self, now: float) -> None:
        self.heard_at = self.together_at = now


class Agent:
    """One site's data agent."""

    def __init__(self, world: World, state: Path, ref: SiteRef, account: str) -> None:
        self.name, self.region, self.witness = ref.site.name, ref.region, ref.site.kind == "witness"
        settings = node_settings(world, ref, state, account)
        kind = Witness if self.witness else Node
        self.settings = settings
        self.engine: Engine = kind(settings, state / "sites" / self.name / "logs" / "sql.log")
        self.sql = LocalSql(settings)
        voters = data_voters(world, ref.region)
        client = peer_context(ssl.PROTOCOL_TLS_CLIENT, state / "pki", ref)
        self.peers = [Peer(world, voter, client) for voter in voters if voter.site.name != self.name]
        self.nodes = tuple(voter.site.name for voter in voters if voter.site.kind == "primary")
        self.witnesses = tuple(voter.site.name for voter in voters if voter.site.kind == "witness")
        self.position: Position | None = None
        self.status = NodeStatus()
        self.decision = Decision("wait", "it has just been started")
        self.starts = 0
        self._how: Action = "wait"  # it started; "join" once it has been with the majority
        self._heard: dict[str, tuple[float, DataReport]] = {}  # site -> when it was asked, and what it said
        self._since = 0.0  # what was said before counts no more
        self._looked = asyncio.Event()  # everybody was asked once
        self._accounts = False
        self._force = settings.folder / "force"
        self._flusher = Flusher(weed_files(state, self.name).volumes)
        home = site_address(world, ref)
        server = peer_context(ssl.PROTOCOL_TLS_SERVER, state / "pki", ref)
        self._servers = (
            HttpServer(home, Ports.DATA, lambda path, _: answer(self.facts(), path)),
            HttpServer(home, Ports.DATA_PEERS, self._publish, tls=server),
        )

    async def run(self) -> None:
        """Tend the engine until cancelled; OSError if a port is taken."""
        self.engine.prepare()
        async with AsyncExitStack() as stack:
            for server in self._servers:
                await server.open()
                stack.push_async_callback(server.close)
            stack.push_async_callback(self._end)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._tend())
                tasks.create_task(self._bound_log())
                if self.settings.objects:
                    tasks.create_task(self._flush_objects())

    def report(self) -> DataReport:
        """What this site tells the others.  An engine that runs and does not answer may hold more than is known."""
        view, running = self.engine.view(), self.engine.running
        position = self.status.position if running and self.status.position.history else self.position
        held = position or Position()
        return DataReport(
            site=self.name,
            running=running,
            primary=self.status.primary,
            ready=self.status.ready,
            known=position is not None,
            history=held.history,
            seqno=held.seqno,
            safe=self.engine.is_safe(),
            me=view.me,
            view=view.name,
            members=view.members,
            size=self.status.size,
            reforming=running and self._how == "reform",
        )

    def reports(self) -> Reports:
        """What is known of the region now."""
        since = max(self._since, time.monotonic() - STALE_S)
        fresh = {site: report for site, (at, report) in self._heard.items() if at > since}
        return Reports(self.nodes, self.witnesses, {**fresh, self.name: self.report()})

    def facts(self) -> Facts:
        """What the pages are made of."""
        heard = self.reports().heard
        return Facts(
            region=self.region,
            witness=self.witness,
            report=heard[self.name],
            status=self.status,
            expected=len(self.nodes + self.witnesses),
            doing=self.decision.action,
            why=self.decision.why,
            starts=self.starts,
            heard=tuple(report for site, report in heard.items() if site != self.name),
        )

    def _publish(self, path: str, _: dict[str, str]) -> Page:
        if path != "/report":
            return Page(404, "text/plain", b"pages: /report\n")
        return Page(200, "application/json", encode_report(self.report()))

    async def _listen(self) -> None:
        """Keep the peers' reports; a node that serves needs them for its page only."""
        while True:
            now = time.monotonic()
            found = await asyncio.gather(*(peer.ask() for peer in self.peers))
            self._heard |= {report.site: (now, report) for report in found if report is not None}
            if now > self._since:
                self._looked.set()
            await asyncio.sleep(CALM_S if self.status.ready else LOOK_S)

    async def _tend(self) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            began = time.monotonic()
            try:
                await self._start()
                why = await self._watch()
            except ConfigError as error:
                why = str(error)
            self.status, self._accounts = NodeStatus(), False
            pause_s = PAUSE_FIRST_S if time.monotonic() - began > 60.0 else min(PAUSE_MAX_S, 2 * pause_s)
            self.decision = Decision("wait", why)
            log.warning("engine ended", extra={"f": {"why": why, "pause_s": pause_s}})
            await asyncio.sleep(pause_s)

    async def _start(self) -> None:
        """Wait for a decision that is not to wait, and obey it."""
        self.position = await self.engine.recover()
        log.info("recovered", extra={"f": {"position": str(self.position)}})
        self._since = time.monotonic()  # whoever served while this engine ran may have died with it
        self._looked.clear()
        await self._looked.wait()
        began = time.monotonic()
        while True:
            waited_s = time.monotonic() - began
            if lack := self.engine.lacks_room():
                self._decide(Decision("wait", lack))
            else:
                self._decide(decide_start(self.name, self.reports(), self._force.exists(), waited_s))
            if self.decision.action != "wait":
                break
            if self.position is None and not self.witness and waited_s > RECOVER_AGAIN_S:
                raise ConfigError("how much it holds could not be found out")  # it is tried again after a pause
            await asyncio.sleep(LOOK_S)
        self._force.unlink(missing_ok=True)
        self.starts += 1
        self._how = self.decision.action
        position, self.position = self.position, None
        await self.engine.start(self.decision.action, position)

    def _decide(self, decision: Decision) -> None:
        if decision != self.decision:
            log.info("decided", extra={"f": decision._asdict()})
        self.decision = decision

    async def _watch(self) -> str:
        """Why the engine is gone, and it is gone when this returns."""
        assert self.engine.process is not None
        ended = asyncio.create_task(self.engine.process.wait())
        run = _Run(time.monotonic())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=CALM_S if self.status.ready else LOOK_S)
                if why := await self._judge(run):
                    return why
            if self._how == "reform":
                self.engine.forget_view()
            return f"it ended with code {ended.result()}"
        finally:
            ended.cancel()
            self.sql.close()

    async def _judge(self, run: _Run) -> str:
        """Look at the engine, and end it if it must be started again; why, or nothing."""
        found, now = await self._look(), time.monotonic()
        self.status = found or NodeStatus(state=self.sql.fault)
        reports = self.reports()
        if found and found.primary:
            self._how = "join"  # it has found the others, or made a start
        if found or not self._accounts:
            run.heard_at = now
        if not is_apart(self.name, reports, self._how):
            run.together_at = now
        if found and found.state == INCONSISTENT:
            await self.engine.kill()  # it does nothing any more, and cannot write down that it ends
            return "it could not apply what the others wrote; sql.log says why"
        if now - run.heard_at > HANG_S:
            await self.engine.kill()
            return f"it did not answer for {HANG_S:.0f} s"
        again = decide_running(self.name, reports, now - run.together_at, self._how, found is not None)
        if again is None:
            return ""
        # One that never answered holds nothing that an orderly end would save, and would take its time over it.
        await (self.engine.kill() if found is None and not self._accounts else self.engine.stop())
        self.engine.forget_view()
        return again.why

    async def _look(self) -> NodeStatus | None:
        """How the engine is; None if it does not say."""
        if self.witness:
            return self._as_seen_by_nodes()
        found = await self.sql.status()
        if found is None or not found.ready or self._accounts:
            return found
        try:
            await self.sql.run(render_accounts(self.settings))
        except Unavailable as error:
            log.warning("no accounts yet", extra={"f": {"why": error.detail}})
            return found._replace(ready=False)
        self._accounts = True
        return found

    def _as_seen_by_nodes(self) -> NodeStatus:
        """An arbitrator answers no questions: it is where the nodes that serve say it is."""
        view = self.engine.view()
        heard = self.reports().heard
        for report in (heard[site] for site in self.nodes if site in heard):
            if report.primary and view.me and view.me in report.members:
                return NodeStatus(True, True, "Voting", report.size)
        return NodeStatus(state="Apart")

    async def _bound_log(self) -> None:
        while True:
            await asyncio.sleep(LOG_S)
            bound_log(self.engine.log)

    async def _flush_objects(self) -> None:
        """See to it that what the site's SeaweedFS has acknowledged is on its disk soon."""
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await asyncio.to_thread(self._flusher.flush)
            except OSError as error:
                log.error("objects are not on the disk", extra={"f": {"why": str(error)}})

    async def _end(self) -> None:
        self.decision = Decision("wait", "it is being stopped")
        await self.engine.stop()
        for peer in self.peers:
            peer.close()
