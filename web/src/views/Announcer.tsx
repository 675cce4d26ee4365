/** Reads new messages out to screen readers, gathered so that a lively room does not talk without end. */
import { VisuallyHidden } from "@mantine/core";
import { useEffect, useRef, useState } from "react";

import type { State } from "../core/model";
import { filesOf, textOf } from "../core/wire";
import { filesWords } from "./fileWords";
import { useClient } from "./hooks";
import { personName, roomTitle } from "./words";

const GATHER_MS = 700;
const READ_MAX = 3;
const CHARS_MAX = 200;

function sentence(state: State, room: string, seq: number): string {
  const view = state.rooms.get(room);
  const row = view?.rows.findLast((one) => one.seq === seq);
  const who = row?.author == null ? "Somebody" : personName(state, row.author);
  const where = state.open === room || view === undefined ? "" : ` in ${roomTitle(state, view.info)}`;
  return `${who}${where}: ${(textOf(row?.body) || filesWords(filesOf(row?.body))).slice(0, CHARS_MAX)}`;
}

export function Announcer() {
  const client = useClient();
  const [words, setWords] = useState("");
  const waiting = useRef<{ room: string; seq: number }[]>([]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const speak = () => {
      timer = undefined;
      const all = waiting.current.splice(0);
      const extra = all.length - READ_MAX;
      const said = all.slice(0, READ_MAX).map(({ room, seq }) => sentence(client.state, room, seq));
      setWords(said.join(". ") + (extra > 0 ? `. And ${extra} more new messages` : ""));
    };
    const stop = client.onHeard((room, { seq }) => {
      waiting.current.push({ room, seq });
      timer ??= setTimeout(speak, GATHER_MS); // by then a body from another region has come, too
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [client]);

  return <VisuallyHidden role="log" aria-live="polite" aria-label="New messages">{words}</VisuallyHidden>;
}
