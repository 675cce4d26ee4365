/** One message: of the room's order, or one's own on its way there. */
import { ActionIcon, Button, Menu, Skeleton } from "@mantine/core";
import { useMemo } from "react";

import type { Pending } from "../core/model";
import { empty } from "../core/outbox";
import { awaited } from "../core/uploads";
import { type FileRef, filesOf, type Person, regionOf, type Row, textOf } from "../core/wire";
import { Avatar } from "./Avatar";
import { MessageFiles } from "./Files";
import { useClient, useCore } from "./hooks";
import { FaultIcon, MoonIcon, MoreIcon, WaitIcon } from "./icons";
import { Markdown } from "./Markdown";
import { RegionTag } from "./RegionTag";
import { useToast } from "./Toast";
import { UploadList } from "./Uploads";
import { fullTimeOf, pendingWords, personName, shortRegion, timeOf } from "./words";

export function MessageItem({ row, me, tools, first }: { row: Row; me: Person; tools: boolean; first: boolean }) {
  const author = row.author ?? "";
  const at_ms = Date.parse(row.at);
  return (
    <>
      {first && <Avatar person={author} />}
      <div className="message-body">
        <Head author={author} at_ms={at_ms} first={first} />
        <Words row={row} author={author} stop={tools} />
      </div>
      {tools && row.state === "ok" && <Tools row={row} me={me} />}
    </>
  );
}

/** The author's name stands once over a group; for screen readers and on hover every message says its own. */
function Head({ author, at_ms, first }: { author: string; at_ms: number; first: boolean }) {
  const name = useCore((state) => personName(state, author));
  const time = <time dateTime={new Date(at_ms).toISOString()} title={fullTimeOf(at_ms)}>{timeOf(at_ms)}</time>;
  if (!first) return <p className="message-again"><span className="sr">{name}, </span>{time}</p>;
  return <p className="message-head"><span className="message-name">{name}</span> <RegionTag region={regionOf(author)} /> {time}</p>;
}

function Words({ row, author, stop }: { row: Row; author: string; stop: boolean }) {
  switch (row.state) {
    case "erased":
      return <p className="message-gone">This message was erased.</p>;
    case "held":
      return <p className="message-held"><MoonIcon /> Held in {shortRegion(regionOf(author))}, which cannot be reached now. It will show here when it is back.</p>;
    case "waiting":
      return <div aria-label="On its way"><Skeleton height={10} width="70%" mt={6} mb={8} /><Skeleton height={10} width="45%" /></div>;
    default:
      return <Content text={textOf(row.body)} files={filesOf(row.body)} stop={stop} />;
  }
}

function Content({ text, files, stop }: { text: string; files: readonly FileRef[]; stop: boolean }) {
  return (
    <>
      {(text !== "" || files.length === 0) && <Markdown text={text} />}
      {files.length > 0 && <MessageFiles files={files} stop={stop} />}
    </>
  );
}

function Tools({ row, me }: { row: Row; me: Person }) {
  const client = useClient();
  const { attempt } = useToast();
  const creator = useCore((state) => state.rooms.get(row.stream)?.info.creator);
  const mayErase = row.id !== null && (row.author === me.id || creator === me.id);
  const { id } = row;
  const text = textOf(row.body);
  if (text === "" && !mayErase) return null;
  return (
    <div className="message-tools">
      <Menu position="bottom-end" shadow="md">
        <Menu.Target><ActionIcon variant="default" size="md" aria-label="What to do with this message"><MoreIcon /></ActionIcon></Menu.Target>
        <Menu.Dropdown>
          {text !== "" && <Menu.Item onClick={() => void attempt("The text was not copied", () => navigator.clipboard.writeText(text))}>Copy the text</Menu.Item>}
          {mayErase && id !== null && (
            <Menu.Item color="red" onClick={() => void attempt("The message was not erased", () => client.api.redact(row.stream, id))}>Erase it for everyone</Menu.Item>
          )}
        </Menu.Dropdown>
      </Menu>
    </div>
  );
}

/** One's own message before it has a place in the order. */
export function PendingItem({ item, me, first, stop }: { item: Pending; me: Person; first: boolean; stop: boolean }) {
  const client = useClient();
  const live = useCore((state) => state.link.phase === "live");
  const words = pendingWords(item, me.region, live);
  return (
    <>
      {first && <Avatar person={me.id} />}
      <div className="message-body">
        <Head author={me.id} at_ms={item.at_ms} first={first} />
        {item.text === null ? <p className="message-gone">Written on another device.</p> : (item.text !== "" || (item.files ?? []).length > 0) && <Content text={item.text} files={item.files ?? []} stop={stop} />}
        {item.files === null && <PendingUploads item={item} stop={stop} />}
        {words !== null && (
          <p className="mark" data-state={item.state}>
            {item.state === "refused" ? <FaultIcon /> : item.state === "kept" ? <MoonIcon /> : <WaitIcon />} {words}
            {item.state === "refused" && item.text !== null && !empty(item) && (
              <Button size="compact-xs" variant="light" onClick={() => client.do({ t: "again", client_id: item.client_id, fresh: crypto.randomUUID() })}>{item.code === "upload_lost" ? "Send without them" : "Try again"}</Button>
            )}
            {(item.state === "refused" || item.files === null) && (
              <Button size="compact-xs" variant="subtle" onClick={() => client.do({ t: "discard", client_id: item.client_id })}>Discard</Button>
            )}
          </p>
        )}
      </div>
    </>
  );
}

/** The files that a message waits for; one that cannot be uploaded can be taken out. */
function PendingUploads({ item, stop }: { item: Pending; stop: boolean }) {
  const client = useClient();
  const uploads = useCore((state) => state.uploads);
  const list = useMemo(() => awaited({ ...client.state, uploads }, item.client_id), [client, uploads, item.client_id]);
  return <UploadList uploads={list} label="Files of this message" onRemove={(key) => client.do({ t: "upload_cancel", key })} tab={stop ? 0 : -1} />;
}
