/**
 * What was said in a room.  Only what is in view is in the page (TanStack Virtual, anchored at its end): older rows
 * come when one scrolls up and do not move what one reads; new ones are followed only by who is at the end.
 * Messages are one stop of the Tab key; the arrow keys walk through them.
 */
import { Button, Loader } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type RefObject, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";

import { filesOf, type Person } from "../core/wire";
import { useClient, useCore, useToday } from "./hooks";
import { filesHeight } from "./gallery";
import { DownIcon } from "./icons";
import { type Item, timelineItems } from "./items";
import { MessageItem, PendingItem } from "./Message";
import { SystemLine } from "./SystemLine";
import { codeWords, count, dayWords } from "./words";

const NEAR_END_PX = 60;
const NEAR_START_ITEMS = 8;
const FOCUSABLE = new Set<Item["kind"]>(["message", "pending"]);

export function Timeline({ room, me }: { room: string; me: Person }) {
  const client = useClient();
  const view = useCore((state) => state.rooms.get(room));
  const outbox = useCore((state) => state.outbox);
  const items = useMemo(
    () => (view === undefined ? [] : timelineItems(view, outbox.filter((item) => item.room === room), me.id)),
    [view, outbox, room, me.id],
  );
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<string | null>(null);
  const [atEnd, setAtEnd] = useState(true);
  const wantsFocus = useRef(false);

  // eslint-disable-next-line react-hooks/incompatible-library -- read afresh in every render, never memoised
  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => {
      const item = items[index];
      return item?.kind === "message" ? 60 + filesHeight(filesOf(item.row.body)) : 36;
    },
    getItemKey: useCallback((index: number) => items[index]?.key ?? index, [items]),
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: NEAR_END_PX,
    overscan: 10,
  });
  const shown = virtual.getVirtualItems();
  const hasRows = (view?.rows.length ?? 0) > 0;

  useLayoutEffect(() => {
    if (hasRows) virtual.scrollToEnd();
  }, [virtual, hasRows]);

  const first = shown[0]?.index ?? 0;
  const wantsMore = hasRows && view !== undefined && view.more && view.loading === 0 && view.failed === null && first < NEAR_START_ITEMS;
  useEffect(() => {
    if (wantsMore) client.do({ t: "history", room });
  }, [client, room, wantsMore]);

  useAttention(atEnd);
  useFollowing(scroller, hasRows, items.at(-1)?.key, useCallback(() => virtual.scrollToEnd(), [virtual]));

  const onScroll = () => setAtEnd(virtual.isAtEnd(NEAR_END_PX));
  const last = items.findLast((item) => FOCUSABLE.has(item.kind))?.key ?? null;
  const stop = active !== null && items.some((item) => item.key === active) ? active : last;

  useEffect(() => {
    if (!wantsFocus.current || stop === null) return;
    const element = scroller.current?.querySelector<HTMLElement>(`[data-key="${stop}"]`);
    if (element == null) return;
    wantsFocus.current = false;
    element.focus({ preventScroll: true });
  });

  function onKey(event: KeyboardEvent) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by === undefined || event.altKey || event.ctrlKey || !(event.target as HTMLElement).matches("[data-key]")) return;
    event.preventDefault();
    let index = items.findIndex((item) => item.key === stop) + by;
    while (items[index] !== undefined && !FOCUSABLE.has(items[index]?.kind ?? "day")) index += by;
    const next = items[index];
    if (next === undefined) return;
    wantsFocus.current = true;
    setActive(next.key);
    virtual.scrollToIndex(index, { align: "auto" });
  }

  const newer = view?.info.unread ?? 0;
  return (
    <div className="timeline-place">
      <div ref={scroller} className="timeline" onScroll={onScroll}>
        {!hasRows && <FirstRows room={room} />}
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- arrow keys walk through the messages */}
        <div className="timeline-all" role="list" aria-label="Messages" id="messages" onKeyDown={onKey} style={{ height: virtual.getTotalSize() }}>
          {shown.map(({ key, index, start }) => {
            const item = items[index];
            if (item === undefined) return null;
            return (
              <div key={key} ref={virtual.measureElement} data-index={index} className="timeline-row" role="presentation" style={{ transform: `translateY(${start}px)` }}>
                <TimelineItem item={item} room={room} me={me} size={items.length} at={index + 1} stop={item.key === stop} onActive={setActive} />
              </div>
            );
          })}
        </div>
      </div>
      {!atEnd && (
        <Button className="to-end" size="compact-sm" radius="xl" leftSection={<DownIcon />} onClick={() => virtual.scrollToEnd()}>
          {newer > 0 ? count(newer, "new message", "new messages") : "Latest"}
        </Button>
      )}
    </div>
  );
}

/**
 * Who is at the end stays there when the list gets lower, as when one attaches files, when what is in it grows, and
 * when another item becomes the last one: a sent message replaces the one that waited, with another height at first.
 */
function useFollowing(scroller: RefObject<HTMLDivElement | null>, hasRows: boolean, last: string | undefined, follow: () => void): void {
  const was = useRef(true);
  useLayoutEffect(() => {
    if (was.current) follow();
  }, [last, follow]);
  useEffect(() => {
    const element = scroller.current;
    if (element === null || !hasRows) return;
    const lowest = () => element.scrollHeight - element.clientHeight;
    let end = lowest(); // as last laid out: at a scroll event the list may have grown or got room already, which does not count
    const near = () => Math.min(end, lowest()) - element.scrollTop <= NEAR_END_PX;
    was.current = near();
    const onScroll = () => {
      was.current = near();
    };
    const observer = new ResizeObserver(() => {
      end = lowest();
      if (was.current) follow();
    });
    element.addEventListener("scroll", onScroll);
    for (const one of [element, ...element.children]) observer.observe(one);
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [scroller, hasRows, follow]);
}

/** The core marks as read what is shown to somebody who is there: window in front, end of the list in view. */
function useAttention(atEnd: boolean): void {
  const client = useClient();
  useEffect(() => {
    const tell = () => client.do({ t: "attention", on: atEnd && document.visibilityState === "visible" && document.hasFocus() });
    tell();
    const targets: [EventTarget, string][] = [[window, "focus"], [window, "blur"], [document, "visibilitychange"]];
    for (const [target, name] of targets) target.addEventListener(name, tell);
    return () => {
      for (const [target, name] of targets) target.removeEventListener(name, tell);
      client.do({ t: "attention", on: false });
    };
  }, [client, atEnd]);
}

interface ItemProps {
  item: Item;
  room: string;
  me: Person;
  size: number;
  at: number;
  stop: boolean;
  onActive: (key: string) => void;
}

function TimelineItem({ item, room, me, size, at, stop, onActive }: ItemProps) {
  const place = { role: "listitem", "aria-setsize": size, "aria-posinset": at };
  switch (item.kind) {
    case "older":
      return <div {...place} className="timeline-top"><Older room={room} /></div>;
    case "start":
      return <div {...place} className="timeline-top"><p>This is where the room begins.</p></div>;
    case "day":
      return <div {...place} className="day"><DayWords at_ms={item.at_ms} /></div>;
    case "line":
      return <div {...place} className="new-line"><span>New</span></div>;
    case "system":
      return <div {...place}><SystemLine row={item.row} room={room} /></div>;
    case "message":
    case "pending": {
      const focus = { tabIndex: stop ? 0 : -1, "data-key": item.key, onFocus: () => onActive(item.key), onPointerEnter: () => onActive(item.key) };
      const own = item.kind === "pending" ? <PendingItem item={item.item} me={me} first={item.first} stop={stop} /> : <MessageItem row={item.row} me={me} tools={stop} first={item.first} />;
      return <div {...place} {...focus} className="message" data-first={item.first || undefined} data-kind={item.kind}>{own}</div>;
    }
  }
}

function DayWords({ at_ms }: { at_ms: number }) {
  const today = useToday();
  return <span>{dayWords(at_ms, today)}</span>;
}

function Older({ room }: { room: string }) {
  const client = useClient();
  const failed = useCore((state) => state.rooms.get(room)?.failed ?? null);
  if (failed === null) return <Loader type="dots" size="sm" aria-label="Fetching older messages" />;
  return (
    <p>
      Older messages could not be had: {codeWords(failed)}. <Button size="compact-xs" variant="light" onClick={() => client.do({ t: "history", room })}>Try again</Button>
    </p>
  );
}

/** Before the first rows have come. */
function FirstRows({ room }: { room: string }) {
  const client = useClient();
  const failed = useCore((state) => state.rooms.get(room)?.failed ?? null);
  const loading = useCore((state) => (state.rooms.get(room)?.loading ?? 0) !== 0);
  if (failed === null) return loading ? <div className="timeline-first"><Loader type="dots" aria-label="Fetching messages" /></div> : null;
  return (
    <div className="timeline-first" role="alert">
      <p>The messages could not be had: {codeWords(failed)}.</p>
      <Button variant="light" onClick={() => client.do({ t: "history", room })}>Try again</Button>
    </div>
  );
}
