/** Ctrl+K: go to a room or to a person by typing a little of the name. */
import { Modal } from "@mantine/core";
import { type KeyboardEvent, useState } from "react";

import type { State } from "../core/model";
import { Avatar } from "./Avatar";
import { openDirect } from "./direct";
import { goTo, useClient, useCore, useFocusBack } from "./hooks";
import { HashIcon } from "./icons";
import { roomLists } from "./order";
import { usePeople } from "./PeoplePicker";
import { RegionTag } from "./RegionTag";
import { useToast } from "./Toast";
import { roomTitle } from "./words";

const SHOWN_MAX = 12;

type Hit = { kind: "room"; id: string; title: string; region: string; unread: number } | { kind: "person"; id: string; title: string; region: string; unread: 0 };

/** Rooms first, then people one has no chat with yet; what begins with the words before what contains them. */
export function hits(state: State, typed: string, people: readonly { id: string; name: string; region: string }[]): Hit[] {
  const words = typed.trim().toLocaleLowerCase();
  const { groups, direct } = roomLists(state);
  const talked = new Set(direct.map(({ info }) => info.others[0]));
  const rooms = [...groups, ...direct].map(({ info }): Hit => ({ kind: "room", id: info.id, title: roomTitle(state, info), region: info.region, unread: info.unread }));
  const others = people.filter((one) => one.id !== state.me && !talked.has(one.id)).map((one): Hit => ({ kind: "person", id: one.id, title: one.name, region: one.region, unread: 0 }));
  const rank = (hit: Hit) => (hit.title.toLocaleLowerCase().startsWith(words) ? 0 : 1);
  const all = [...rooms.sort((a, b) => b.unread - a.unread), ...others].filter((hit) => hit.title.toLocaleLowerCase().includes(words));
  return all.sort((a, b) => rank(a) - rank(b)).slice(0, SHOWN_MAX);
}

export function Switcher({ onClose }: { onClose: () => void }) {
  const client = useClient();
  useFocusBack();
  const { attempt } = useToast();
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const { data } = usePeople(typed);
  const state = useCore((s) => s);
  const list = hits(state, typed, data?.people ?? []);
  const current = Math.min(at, list.length - 1);

  function go(hit: Hit | undefined) {
    if (hit === undefined) return;
    onClose();
    if (hit.kind === "room") goTo(hit.id);
    else void attempt("The chat was not opened", () => openDirect(client, hit.id));
  }

  function onKey(event: KeyboardEvent) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by !== undefined && list.length > 0) {
      event.preventDefault();
      setAt((current + by + list.length) % list.length);
    }
    if (event.key === "Enter" && !event.nativeEvent.isComposing) {
      event.preventDefault();
      go(list[current]);
    }
  }

  return (
    <Modal opened onClose={onClose} withCloseButton={false} padding={0} classNames={{ header: "sr" }} title="Go to a room or a person" transitionProps={{ duration: 0 }} yOffset="12vh" size={520}>
      <div className="switcher">
        <input
          className="switcher-input" type="text" role="combobox" aria-label="Go to a room or a person" placeholder="Go to a room or a person"
          aria-expanded="true" aria-controls="switcher-list" aria-activedescendant={list[current] === undefined ? undefined : `hit-${list[current].id}`}
          autoComplete="off" spellCheck={false} data-autofocus value={typed}
          onChange={(event) => { setTyped(event.target.value); setAt(0); }} onKeyDown={onKey}
        />
        <ul id="switcher-list" role="listbox" aria-label="Rooms and people" className="switcher-list">
          {list.map((hit, i) => (
            // eslint-disable-next-line jsx-a11y/click-events-have-key-events -- the input above has the keys
            <li key={hit.id} id={`hit-${hit.id}`} role="option" aria-selected={i === current} className="switcher-hit" onClick={() => go(hit)} onPointerMove={() => setAt(i)}>
              <Sign hit={hit} />
              <span className="switcher-title">{hit.title}</span>
              {hit.unread > 0 && <span className="badge">{hit.unread}<span className="sr"> unread</span></span>}
              <RegionTag region={hit.region} />
            </li>
          ))}
        </ul>
        {list.length === 0 && <p className="note switcher-none" role="status">Nothing of that name.</p>}
      </div>
    </Modal>
  );
}

function Sign({ hit }: { hit: Hit }) {
  const other = useCore((state) => (hit.kind === "person" ? hit.id : state.rooms.get(hit.id)?.info.kind === "direct" ? state.rooms.get(hit.id)?.info.others[0] : undefined));
  return other === undefined ? <span className="room-sign"><HashIcon /></span> : <Avatar person={other} size={26} dot />;
}
