/** Reads new messages out to screen readers, gathered so that a lively room does not talk without end. */
import { VisuallyHidden } from "@mantine/core";
import { useEffect, useRef, useState } from "react";

import { useClient } from "./hooks";
import { personName, roomTitle } from "./words";

const GATHER_MS = 700;
const READ_MAX = 3;
const CHARS_MAX = 200;

export function Announcer() {
  const client = useClient();
  const [words, setWords] = useState("");
  const waiting = useRef<string[]>([]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const speak = () => {
      timer = undefined;
      const all = waiting.current.splice(0);
      const extra = all.length - READ_MAX;
      setWords(all.slice(0, READ_MAX).join(". ") + (extra > 0 ? `. And ${extra} more new messages` : ""));
    };
    const stop = client.onHeard((room, row) => {
      const { state } = client;
      const who = row.author === null ? "Somebody" : personName(state, row.author);
      const view = state.rooms.get(room);
      const where = state.open === room || view === undefined ? "" : ` in ${roomTitle(state, view.info)}`;
      waiting.current.push(`${who}${where}: ${(row.body?.text ?? "a new message").slice(0, CHARS_MAX)}`);
      timer ??= setTimeout(speak, GATHER_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [client]);

  return <VisuallyHidden role="log" aria-live="polite" aria-label="New messages">{words}</VisuallyHidden>;
}
