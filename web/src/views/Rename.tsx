/** Gives a room another title. */
import { Button, Modal, TextInput } from "@mantine/core";
import { type SyntheticEvent, useState } from "react";

import { TITLE_CHARS_MAX } from "../core/limits";
import type { Room } from "../core/wire";
import { useClient, useFocusBack } from "./hooks";
import { useToast } from "./Toast";

export default function Rename({ info, onClose }: { info: Room; onClose: () => void }) {
  const client = useClient();
  useFocusBack();
  const { attempt } = useToast();
  const [busy, setBusy] = useState(false);

  async function submit(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    const title = (new FormData(event.currentTarget).get("title") as string).trim();
    if (title === "") return;
    setBusy(true);
    const done = await attempt("The title was not changed", () => client.api.setTitle(info.id, crypto.randomUUID(), title));
    setBusy(false);
    if (done) onClose();
  }

  return (
    <Modal opened onClose={onClose} title="Change the title">
      <form className="form" onSubmit={(event) => void submit(event)}>
        <TextInput name="title" label="Title" defaultValue={info.title ?? ""} required withAsterisk={false} maxLength={TITLE_CHARS_MAX} data-autofocus />
        <Button type="submit" loading={busy}>Change</Button>
      </form>
    </Modal>
  );
}
