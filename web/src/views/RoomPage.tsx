/** One room: its head, the timeline, who types, the composer, and its members beside it. */
import { ActionIcon, Button, Drawer, Menu, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useCallback, useEffect, useState } from "react";

import type { Person, Room } from "../core/wire";
import { Avatar, PresenceText } from "./Avatar";
import { Composer } from "./Composer";
import { useEverybody } from "./everybody";
import { useAttach, useDropZone, ViewerContext } from "./fileHooks";
import { goTo, useClient, useCore } from "./hooks";
import { BackIcon, ClipIcon, HashIcon, InviteIcon, MoreIcon, PeopleIcon } from "./icons";
import { Members } from "./Members";
import { RegionTag } from "./RegionTag";
import { Timeline } from "./Timeline";
import { useToast } from "./Toast";
import { count, personName, roomTitle, typingWords } from "./words";

const Invite = lazy(() => import("./Invite"));
const Rename = lazy(() => import("./Rename"));
const Viewer = lazy(() => import("./Viewer"));

const NAMES_AGAIN_MS = 10_000; // while a region is silent its people have no names

interface Props {
  room: string;
  me: Person;
  narrow: boolean;
  wide: boolean;
  members: boolean;
  onMembers: (shown: boolean) => void;
}

export function RoomPage(props: Props) {
  const client = useClient();
  const info = useCore((state) => state.rooms.get(props.room)?.info);
  const ready = useCore((state) => state.ready);
  const [failed, setFailed] = useState(false);

  useEffect(() => {
    if (!ready || info !== undefined) return;
    client.api.room(props.room).then((room) => client.do({ t: "room", room }), () => setFailed(true));
  }, [client, ready, info, props.room]);

  if (info !== undefined) return <Known {...props} info={info} />;
  return (
    <main className="welcome" aria-busy={!failed}>
      <h1>{failed ? "This room cannot be shown" : "Opening the room…"}</h1>
      {failed && <p>It does not exist, or you are not one of its members.</p>}
      {failed && <Button onClick={() => goTo(null)}>Back to your rooms</Button>}
    </main>
  );
}

function Known({ room, me, narrow, wide, members, onMembers, info }: Props & { info: Room }) {
  const client = useClient();
  const version = useCore((state) => state.rooms.get(room)?.members_version ?? 0);
  const query = useQuery({
    queryKey: ["members", room, version],
    queryFn: async () => {
      const answer = await client.api.members(room);
      client.do({ t: "people", people: answer.members.flatMap(({ person, name, region }) => (name === null ? [] : [{ id: person, name, region }])) });
      return answer.members;
    },
    enabled: info.joined,
    placeholderData: (before) => before,
    refetchInterval: ({ state }) => (state.data?.some(({ name }) => name === null) === true ? NAMES_AGAIN_MS : false),
  });
  useEverybody();
  const attach = useAttach(room);
  const { over, handlers } = useDropZone(attach);
  const [viewed, setViewed] = useState<string | null>(null);
  const close = useCallback(() => setViewed(null), []);
  const panel = <Members info={info} me={me} query={query} />;
  return (
    <div className="room" data-panel={(members && wide) || undefined}>
      <main className="room-main" {...(info.joined ? handlers : {})}>
        <Head info={info} me={me} narrow={narrow} members={members} onMembers={() => onMembers(!members)} />
        <ViewerContext value={setViewed}><Timeline room={room} me={me} /></ViewerContext>
        <TypingLine room={room} />
        {over && <div className="drop-zone"><p><ClipIcon /> Drop files to send them here</p></div>}
        {info.joined ? <Composer room={room} narrow={narrow} onFiles={attach} /> : <p className="composer-off">You are not a member of this room any more.</p>}
      </main>
      <Suspense>{viewed !== null && <Viewer room={room} file={viewed} onFile={setViewed} onClose={close} />}</Suspense>
      {wide ? (
        members && <aside className="members" aria-label="Members">{panel}</aside>
      ) : (
        <Drawer opened={members} onClose={() => onMembers(false)} position="right" size="20rem" title="Members" closeButtonProps={{ "aria-label": "Close the members" }}>{panel}</Drawer>
      )}
    </div>
  );
}

function Head({ info, me, narrow, members, onMembers }: { info: Room; me: Person; narrow: boolean; members: boolean; onMembers: () => void }) {
  const client = useClient();
  const { attempt } = useToast();
  const [dialog, setDialog] = useState<"invite" | "rename" | null>(null);
  const title = useCore((state) => roomTitle(state, info));
  const other = info.kind === "direct" ? info.others[0] : undefined;
  const group = info.kind === "group" && info.joined;

  async function leave() {
    if (await attempt("You have not left the room", () => client.api.remove(info.id, me.id))) goTo(null);
  }

  return (
    <header className="room-head">
      {narrow && <ActionIcon variant="subtle" size="lg" aria-label="Back to the rooms" onClick={() => goTo(null)}><BackIcon /></ActionIcon>}
      {other === undefined ? <span className="room-sign"><HashIcon size={20} /></span> : <Avatar person={other} size={34} dot />}
      <div className="room-names">
        <h1>{title}</h1>
        <p>{other === undefined ? <>at home in <RegionTag region={info.region} /></> : <><span><PresenceText person={other} /></span> <RegionTag region={other.split("_")[1] ?? ""} /></>}</p>
      </div>
      {group && (
        <Tooltip label="Invite people"><ActionIcon variant="subtle" size="lg" aria-label="Invite people" onClick={() => setDialog("invite")}><InviteIcon /></ActionIcon></Tooltip>
      )}
      <Tooltip label="Members">
        <Button className="members-button" variant={members ? "light" : "subtle"} size="compact-md" aria-expanded={members} aria-label={`Members, ${count(info.members, "person", "people")}`} leftSection={<PeopleIcon />} onClick={onMembers}>{info.members}</Button>
      </Tooltip>
      {group && (
        <Menu position="bottom-end" shadow="md">
          <Menu.Target><ActionIcon variant="subtle" size="lg" aria-label="More about this room"><MoreIcon /></ActionIcon></Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => setDialog("rename")}>Change the title…</Menu.Item>
            <Menu.Item color="red" onClick={() => void leave()}>Leave the room</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
      <Suspense>
        {dialog === "invite" && <Invite info={info} onClose={() => setDialog(null)} />}
        {dialog === "rename" && <Rename info={info} onClose={() => setDialog(null)} />}
      </Suspense>
    </header>
  );
}

function TypingLine({ room }: { room: string }) {
  const words = useCore((state) => typingWords([...(state.typing.get(room)?.keys() ?? [])].map((person) => personName(state, person))));
  return <p className="typing">{words !== "" && <><span className="typing-dots" aria-hidden="true"><i /><i /><i /></span>{words}</>}</p>;
}

