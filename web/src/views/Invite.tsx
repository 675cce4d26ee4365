/** Invites people into a room. */
import { Button, Modal } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useMemo, useState } from "react";

import type { Person, Room } from "../core/wire";
import { useClient, useFocusBack } from "./hooks";
import { PeoplePicker } from "./PeoplePicker";
import { useToast } from "./Toast";

export const INVITES_MAX = 100;

export default function Invite({ info, onClose }: { info: Room; onClose: () => void }) {
  const client = useClient();
  useFocusBack();
  const { attempt } = useToast();
  const [chosen, setChosen] = useState<ReadonlyMap<string, Person>>(new Map());
  const [busy, setBusy] = useState(false);
  const members = useQuery({ queryKey: ["members", info.id, "invite"], queryFn: () => client.api.members(info.id), staleTime: 0 });
  const without = useMemo(() => new Set([client.me, ...(members.data?.members ?? []).map(({ person }) => person)]), [client, members.data]);

  async function submit(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    setBusy(true);
    const left = new Map(chosen);
    for (const person of chosen.values()) {
      if (!(await attempt(`${person.name} was not invited`, () => client.api.invite(info.id, person.id)))) break;
      left.delete(person.id);
    }
    setChosen(left);
    setBusy(false);
    if (left.size === 0) onClose();
  }

  return (
    <Modal opened onClose={onClose} title="Invite people">
      <form className="form" onSubmit={(event) => void submit(event)}>
        <PeoplePicker chosen={chosen} onChange={setChosen} without={without} max={INVITES_MAX} />
        <Button type="submit" loading={busy} disabled={chosen.size === 0}>Invite</Button>
      </form>
    </Modal>
  );
}
