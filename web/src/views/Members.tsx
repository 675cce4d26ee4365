/** Who is in a room, and in which region everything they write rests. */
import { ActionIcon, Button, Loader, Menu } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";

import type { Member, Person, Room } from "../core/wire";
import { Avatar, PresenceText } from "./Avatar";
import { useClient, useCore } from "./hooks";
import { MoreIcon } from "./icons";
import { RegionTag } from "./RegionTag";
import { useToast } from "./Toast";
import { openDirect } from "./direct";
import { personName } from "./words";

export function Members({ info, me, query }: { info: Room; me: Person; query: UseQueryResult<Member[]> }) {
  if (query.data === undefined) {
    if (query.isError) return <p className="note">The members could not be had. <Button size="compact-xs" variant="light" onClick={() => void query.refetch()}>Try again</Button></p>;
    return <div className="note"><Loader type="dots" size="sm" aria-label="Fetching the members" /></div>;
  }
  const byName = [...query.data].sort((a, b) => (a.name ?? "~").localeCompare(b.name ?? "~"));
  const regions = new Set(byName.map((member) => member.region)).size;
  return (
    <>
      <p className="members-note">{regions > 1 ? `${byName.length} people in ${regions} regions. What each one writes rests in their own.` : "What each one writes rests in their own region."}</p>
      <ul className="members-list">{byName.map((member) => <MemberItem key={member.person} member={member} info={info} me={me} />)}</ul>
    </>
  );
}

function MemberItem({ member, info, me }: { member: Member; info: Room; me: Person }) {
  const client = useClient();
  const { attempt } = useToast();
  const name = useCore((state) => personName(state, member.person));
  const self = member.person === me.id;
  const mayRemove = info.kind === "group" && info.creator === me.id;
  return (
    <li className="member">
      <Avatar person={member.person} dot />
      <span className="member-words">
        <span className="member-name">{name}{self && " (you)"}</span>
        <span className="member-place"><RegionTag region={member.region} long /></span>
        <span className="sr"><PresenceText person={member.person} /></span>
      </span>
      {!self && (
        <Menu position="bottom-end" shadow="md">
          <Menu.Target><ActionIcon variant="subtle" aria-label={`More about ${name}`}><MoreIcon /></ActionIcon></Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => void attempt("The chat was not opened", () => openDirect(client, member.person))}>Write to {name}</Menu.Item>
            {mayRemove && <Menu.Item color="red" onClick={() => void attempt(`${name} was not removed`, () => client.api.remove(info.id, member.person))}>Remove from the room</Menu.Item>}
          </Menu.Dropdown>
        </Menu>
      )}
    </li>
  );
}
