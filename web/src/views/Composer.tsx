/** Where one writes and attaches files.  Enter sends, Shift+Enter makes a new line; what is unsent stays with its room. */
import { ActionIcon, Tooltip } from "@mantine/core";
import { type ChangeEvent, type ClipboardEvent, type KeyboardEvent, useLayoutEffect, useMemo, useRef, useState } from "react";

import { BODY_BYTES_MAX, FILE_BYTES_MAX, FILES_PER_ENTRY_MAX, OUTBOX_MAX } from "../core/limits";
import { drafts } from "../core/uploads";
import { sizeWords } from "./fileWords";
import { useClient, useCore, useMedia } from "./hooks";
import { ClipIcon, SendIcon } from "./icons";
import { UploadList } from "./Uploads";
import { roomTitle } from "./words";

const HEIGHT_PX_MAX = 220;
const WARN_BYTES = 500;

interface Props {
  room: string;
  narrow: boolean;
  onFiles: (files: readonly File[]) => void;
}

export function Composer({ room, narrow, onFiles }: Props) {
  const client = useClient();
  const touch = useMedia("(pointer: coarse)");
  const [text, setText] = useState(() => client.drafts.get(room) ?? "");
  const area = useRef<HTMLTextAreaElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const form = useRef<HTMLFormElement>(null);
  const title = useCore((state) => {
    const view = state.rooms.get(room);
    return view === undefined ? "" : roomTitle(state, view.info);
  });
  const full = useCore((state) => state.outbox.length >= OUTBOX_MAX);
  const uploads = useCore((state) => state.uploads);
  const attached = useMemo(() => drafts({ ...client.state, uploads }, room), [client, uploads, room]);
  const broken = attached.filter((one) => one.state === "failed").length;
  const left = BODY_BYTES_MAX - new TextEncoder().encode(text).length;

  useLayoutEffect(() => {
    const element = area.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, HEIGHT_PX_MAX)}px`;
  }, [text]);

  function change(next: string) {
    setText(next);
    client.drafts.set(room, next);
    client.do({ t: "typing", room, on: next.trim() !== "" });
  }

  function send() {
    const words = text.trim();
    if ((words === "" && attached.length === 0) || left < 0 || full || broken > 0) return;
    client.do({ t: "post", room, client_id: crypto.randomUUID(), text: words });
    setText("");
    client.drafts.delete(room);
    area.current?.focus();
  }

  function choose(event: ChangeEvent<HTMLInputElement>) {
    onFiles([...(event.target.files ?? [])]);
    event.target.value = ""; // so that the same file can be chosen again
    area.current?.focus();
  }

  /** What has words, too, as a table does, is pasted as words. */
  function paste(event: ClipboardEvent) {
    const { files, types } = event.clipboardData;
    if (files.length === 0 || types.includes("text/plain")) return;
    event.preventDefault();
    onFiles([...files]);
  }

  /** The focus goes on to the next file, or back to writing. */
  function remove(key: string) {
    const buttons = [...(form.current?.querySelectorAll<HTMLElement>("[data-remove]") ?? [])];
    const at = buttons.findIndex((button) => button.dataset["remove"] === key);
    (buttons[at + 1] ?? buttons[at - 1] ?? area.current)?.focus();
    client.do({ t: "upload_cancel", key });
  }

  function hint() {
    if (full) return "Too many messages wait to be sent already.";
    if (left < 0) return `${-left} bytes too long.`;
    if (broken > 0) return `${broken === 1 ? "One file was" : `${broken} files were`} not uploaded: try again or remove ${broken === 1 ? "it" : "them"}.`;
    if (left < WARN_BYTES) return `${left} bytes left.`;
    return narrow || touch ? <span className="sr">Markdown works.</span> : "Enter sends, Shift+Enter makes a new line. Markdown works; pictures can be pasted.";
  }

  function onKey(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing || touch) return;
    event.preventDefault();
    send();
  }

  return (
    <form className="composer" ref={form} onSubmit={(event) => { event.preventDefault(); send(); }}>
      {attached.length > 0 && <UploadList uploads={attached} label="Files to send" onRemove={remove} />}
      <Tooltip label={`Attach files, up to ${FILES_PER_ENTRY_MAX} of ${sizeWords(FILE_BYTES_MAX)} each`}>
        <ActionIcon className="composer-attach" variant="subtle" aria-label={`Attach files, up to ${FILES_PER_ENTRY_MAX} of ${sizeWords(FILE_BYTES_MAX)} each`} onClick={() => chooser.current?.click()}><ClipIcon /></ActionIcon>
      </Tooltip>
      <input ref={chooser} type="file" multiple hidden tabIndex={-1} aria-hidden="true" onChange={choose} />
      <textarea
        ref={area}
        id="compose"
        rows={1}
        value={text}
        placeholder={`Write to ${title}`}
        aria-label={`Write to ${title}`}
        aria-describedby="compose-hint"
        onChange={(event) => change(event.target.value)}
        onKeyDown={onKey}
        onPaste={paste}
      />
      <ActionIcon type="submit" size="lg" variant="filled" aria-label="Send" disabled={(text.trim() === "" && attached.length === 0) || left < 0 || full || broken > 0}><SendIcon /></ActionIcon>
      <p id="compose-hint" className="composer-hint" data-fault={left < 0 || full || broken > 0 || undefined}>{hint()}</p>
    </form>
  );
}
