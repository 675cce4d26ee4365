/** Creates a room and invites its first people. */
import { Button, Modal, TextInput } from "@mantine/core";
import { type SyntheticEvent, useMemo, useState } from "react";

import { TITLE_CHARS_MAX } from "../core/limits";
import { type Person, regionOf } from "../core/wire";
import { goTo, useClient, useFocusBack } from "./hooks";
import { INVITES_MAX } from "./Invite";
import { PeoplePicker } from "./PeoplePicker";
import { RegionTag } from "./RegionTag";
import { useToast } from "./Toast";

export default function NewRoom({ onClose }: { onClose: () => void }) {
  const client = useClient();
  useFocusBack();
  const { attempt } = useToast();
  const [chosen, setChosen] = useState<ReadonlyMap<string, Person>>(new Map());
  const [busy, setBusy] = useState(false);
  const without = useMemo(() => new Set([client.me]), [client]);

  async function submit(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    const title = (new FormData(event.currentTarget).get("title") as string).trim();
    if (title === "") return;
    setBusy(true);
    const done = await attempt("The room was not created", async () => {
      const room = await client.api.createRoom({ kind: "group", title, members: [...chosen.keys()] });
      client.do({ t: "room", room });
      goTo(room.id);
    });
    setBusy(false);
    if (done) onClose();
  }

  return (
    <Modal opened onClose={onClose} title="Create a room">
      <form className="form" onSubmit={(event) => void submit(event)}>
        <TextInput name="title" label="Title" description={<>The room is kept in order in your region, <RegionTag region={regionOf(client.me)} />.</>} required withAsterisk={false} maxLength={TITLE_CHARS_MAX} data-autofocus />
        <PeoplePicker chosen={chosen} onChange={setChosen} without={without} max={INVITES_MAX} />
        <Button type="submit" loading={busy}>Create</Button>
      </form>
    </Modal>
  );
}
