/** The frame of the inside: rooms on the left, one room in the middle, its members on the right; dialogs over all. */
import { lazy, Suspense, useCallback, useEffect, useState } from "react";

import type { Person } from "../core/wire";
import { Announcer } from "./Announcer";
import { Opening } from "./App";
import { Banner } from "./Banner";
import { useNoStrayDrops } from "./fileHooks";
import { goTo, useClient, useCore, useNarrow, useRoute, useWide } from "./hooks";
import { RoomPage } from "./RoomPage";
import { Sidebar } from "./Sidebar";
import { Switcher } from "./Switcher";
import { UploadsAloud } from "./Uploads";
import { Welcome } from "./Welcome";
import { neighbour } from "./order";

const NewRoom = lazy(() => import("./NewRoom"));
const Operator = lazy(() => import("./operator/Operator"));

export type Dialog = "switcher" | "room" | null;

export function Frame({ me }: { me: Person }) {
  const client = useClient();
  const route = useRoute();
  const narrow = useNarrow();
  const wide = useWide();
  const [dialog, setDialog] = useState<Dialog>(null);
  const [members, setMembers] = useState(wide);
  const room = route.at === "room" ? route.room : null;

  useEffect(() => client.do({ t: "open_room", room }), [client, room]);
  useWatching(room);
  useTitle();
  useNoStrayDrops();
  useKeys(useCallback((next: Dialog) => setDialog(next), []));

  const away = useCore((state) => state.ready && state.link.phase !== "live");
  const operating = route.at === "operator";
  const list = !narrow || (room === null && !operating);
  return (
    <div className="frame" data-narrow={narrow || undefined} data-away={away || undefined}>
      <a className="skip" href="#messages" onClick={(event) => jump(event, ".timeline")}>Skip to the messages</a>
      <a className="skip" href="#compose" onClick={(event) => jump(event, ".composer textarea")}>Skip to writing</a>
      {list && <Sidebar me={me} open={room} narrow={narrow} onDialog={setDialog} />}
      <div className="stage">
        <Banner />
        {operating ? (
          <Suspense fallback={<Opening />}><Operator narrow={narrow} /></Suspense>
        ) : room !== null ? (
          <RoomPage key={room} room={room} me={me} narrow={narrow} wide={wide} members={members} onMembers={setMembers} />
        ) : (
          !narrow && <Welcome me={me} onDialog={setDialog} />
        )}
      </div>
      <Announcer />
      <UploadsAloud />
      {dialog === "switcher" && <Switcher onClose={() => setDialog(null)} />}
      <Suspense>
        {dialog === "room" && <NewRoom onClose={() => setDialog(null)} />}
      </Suspense>
    </div>
  );
}

/** Moves the focus without touching the address, which names the room. */
function jump(event: { preventDefault: () => void }, selector: string): void {
  event.preventDefault();
  const target = document.querySelector<HTMLElement>(selector);
  (target?.querySelector<HTMLElement>("[tabindex='0']") ?? target)?.focus();
}

/** Ctrl+K opens the switcher, Alt+Up and Alt+Down walk through the rooms. */
function useKeys(open: (dialog: Dialog) => void): void {
  const client = useClient();
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        open("switcher");
      }
      if (event.altKey && !event.ctrlKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        event.preventDefault();
        const next = neighbour(client.state, event.key === "ArrowUp" ? -1 : 1, event.shiftKey);
        if (next !== null) goTo(next);
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [client, open]);
}

/** Watches the presence of oneself, of everyone one has a direct chat with, and of the open room's people. */
function useWatching(room: string | null): void {
  const client = useClient();
  const rooms = useCore((state) => state.rooms);
  const ready = useCore((state) => state.ready);
  useEffect(() => {
    if (!ready) return;
    const direct = [...rooms.values()].filter(({ info }) => info.kind === "direct").flatMap(({ info }) => info.others);
    const open = room === null ? [] : (rooms.get(room)?.info.others ?? []);
    client.do({ t: "watch", people: [client.me, ...open, ...direct] });
  }, [client, rooms, ready, room]);
}

/** The window's title says how much is unread. */
function useTitle(): void {
  const unread = useCore((state) => [...state.rooms.values()].reduce((sum, { info }) => sum + (info.joined ? info.unread : 0), 0));
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Moonbow` : "Moonbow";
  }, [unread]);
}
