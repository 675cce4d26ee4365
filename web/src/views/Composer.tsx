/** Where one writes.  Enter sends, Shift+Enter makes a new line; what is unsent stays with its room. */
import { ActionIcon } from "@mantine/core";
import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";

import { BODY_BYTES_MAX, OUTBOX_MAX } from "../core/limits";
import { useClient, useCore, useMedia } from "./hooks";
import { SendIcon } from "./icons";
import { roomTitle } from "./words";

const HEIGHT_PX_MAX = 220;
const WARN_BYTES = 500;

export function Composer({ room, narrow }: { room: string; narrow: boolean }) {
  const client = useClient();
  const touch = useMedia("(pointer: coarse)");
  const [text, setText] = useState(() => client.drafts.get(room) ?? "");
  const area = useRef<HTMLTextAreaElement>(null);
  const title = useCore((state) => {
    const view = state.rooms.get(room);
    return view === undefined ? "" : roomTitle(state, view.info);
  });
  const full = useCore((state) => state.outbox.length >= OUTBOX_MAX);
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
    if (words === "" || left < 0 || full) return;
    client.do({ t: "post", room, client_id: crypto.randomUUID(), text: words });
    setText("");
    client.drafts.delete(room);
    area.current?.focus();
  }

  function onKey(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing || touch) return;
    event.preventDefault();
    send();
  }

  return (
    <form className="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
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
      />
      <ActionIcon type="submit" size="lg" variant="filled" aria-label="Send" disabled={text.trim() === "" || left < 0 || full}><SendIcon /></ActionIcon>
      <p id="compose-hint" className="composer-hint" data-fault={left < 0 || full || undefined}>
        {full ? "Too many messages wait to be sent already." : left < 0 ? `${-left} bytes too long.` : left < WARN_BYTES ? `${left} bytes left.` : narrow || touch ? <span className="sr">Markdown works.</span> : "Enter sends, Shift+Enter makes a new line. Markdown works."}
      </p>
    </form>
  );
}
