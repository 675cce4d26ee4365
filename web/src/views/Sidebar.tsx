/** The list of rooms, with what is unread and who is there, and at its foot the place one is served from. */
import { ActionIcon, Tooltip } from "@mantine/core";
import { useMemo } from "react";

import type { RoomView } from "../core/model";
import type { Person } from "../core/wire";
import { Avatar } from "./Avatar";
import type { Dialog } from "./Frame";
import { addressOf, useClient, useCore } from "./hooks";
import { HashIcon, PlusIcon, SearchIcon } from "./icons";
import { Logo } from "./Logo";
import { MeMenu } from "./MeMenu";
import { roomLists } from "./order";
import { PlaceBadge } from "./PlaceBadge";
import { count, presenceWords, roomTitle } from "./words";

interface Props {
  me: Person;
  open: string | null;
  narrow: boolean;
  onDialog: (dialog: Dialog) => void;
}

export function Sidebar({ me, open, narrow, onDialog }: Props) {
  const client = useClient();
  const rooms = useCore((state) => state.rooms);
  const people = useCore((state) => state.people);
  const ready = useCore((state) => state.ready);
  const { groups, direct } = useMemo(() => roomLists({ ...client.state, rooms, people }), [client, rooms, people]);
  return (
    <div className="sidebar" role={narrow ? "main" : undefined}>
      <header className="sidebar-head">
        <Logo />
        {narrow ? <h1 className="wordmark">Moonbow</h1> : <span className="wordmark">Moonbow</span>}
        <Tooltip label="Find a room or a person (Ctrl+K)">
          <ActionIcon variant="subtle" size="lg" aria-label="Find a room or a person" aria-keyshortcuts="Control+K" onClick={() => onDialog("switcher")}><SearchIcon /></ActionIcon>
        </Tooltip>
      </header>
      <nav className="rooms" aria-label="Rooms">
        <Section title="Rooms" add="Create a room" onAdd={() => onDialog("room")} views={groups} open={open} />
        <Section title="Direct chats" add="Start a direct chat" onAdd={() => onDialog("switcher")} views={direct} open={open} />
        {ready && groups.length + direct.length === 0 && <p className="rooms-empty">No rooms yet. Create one, or write to somebody.</p>}
        {!ready && <p className="rooms-empty">Fetching your rooms…</p>}
      </nav>
      <footer className="sidebar-foot">
        <PlaceBadge me={me} />
        <MeMenu me={me} />
      </footer>
    </div>
  );
}

function Section({ title, add, onAdd, views, open }: { title: string; add: string; onAdd: () => void; views: readonly RoomView[]; open: string | null }) {
  return (
    <section className="rooms-section">
      <div className="rooms-title">
        <h2>{title}</h2>
        <Tooltip label={add}>
          <ActionIcon variant="subtle" size="md" aria-label={add} onClick={onAdd}><PlusIcon /></ActionIcon>
        </Tooltip>
      </div>
      <ul>{views.map((view) => <RoomLink key={view.info.id} view={view} current={view.info.id === open} />)}</ul>
    </section>
  );
}

function RoomLink({ view: { info }, current }: { view: RoomView; current: boolean }) {
  const title = useCore((state) => roomTitle(state, info));
  const other = info.kind === "direct" ? info.others[0] : undefined;
  const presence = useCore((state) => (other === undefined ? undefined : state.presence.get(other)));
  const unread = current ? 0 : info.unread;
  const name = [title, presence && presenceWords(presence), unread > 0 && count(unread, "unread message", "unread messages")];
  return (
    <li>
      <a className="room-link" href={addressOf(info.id)} aria-label={name.filter(Boolean).join(", ")} aria-current={current ? "page" : undefined} data-unread={unread > 0 || undefined}>
        {other === undefined ? <span className="room-sign"><HashIcon /></span> : <Avatar person={other} size={24} dot />}
        <span className="room-name">{title}</span>
        {unread > 0 && <span className="badge">{unread > 99 ? "99+" : unread}</span>}
      </a>
    </li>
  );
}
