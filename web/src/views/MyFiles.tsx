/** One's own files: what they are, how much of one's space they take, and their way out. */
import { ActionIcon, Button, Loader, Modal } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";

import { type FileInfo, type Files, regionOf } from "../core/wire";
import { isPicture, picturePath } from "../shell/pictures";
import { useDownload, usePicture } from "./fileHooks";
import { Bar, FileSign } from "./Files";
import { fileFault, percent, sizeWords, uploadFault } from "./fileWords";
import { useClient, useFocusBack, useNarrow, useToday } from "./hooks";
import { CloseIcon, SaveIcon, TrashIcon } from "./icons";
import { RegionTag } from "./RegionTag";
import { faultWords, useToast } from "./Toast";
import { dayWords } from "./words";

const PAGE_FILES = 50;

export default function MyFiles({ onClose }: { onClose: () => void }) {
  const client = useClient();
  useFocusBack();
  const narrow = useNarrow();
  const list = useRef<HTMLUListElement>(null);
  const query = useInfiniteQuery({
    queryKey: ["files"],
    queryFn: ({ pageParam }) => client.api.files(pageParam, PAGE_FILES),
    initialPageParam: null as string | null,
    getNextPageParam: (last: Files) => last.next ?? undefined,
    staleTime: 0,
  });
  const [first] = query.data?.pages ?? [];
  const files = query.data?.pages.flatMap((page) => page.files) ?? [];

  /** When a file has gone the focus goes on to its neighbour, or to the list when it was the only one. */
  function gone(at: number) {
    void query.refetch();
    const items = [...(list.current?.children ?? [])];
    const next = (items[at + 1] ?? items[at - 1])?.querySelector<HTMLElement>("button");
    (next ?? list.current)?.focus();
  }

  return (
    <Modal opened onClose={onClose} title="My files" size="lg" fullScreen={narrow}>
      {first !== undefined && <Space used={first.used_bytes} quota={first.quota_bytes} />}
      {query.isError && <p className="note" role="alert">Your files could not be had: {faultWords(query.error)}. <Button size="compact-xs" variant="light" onClick={() => void query.refetch()}>Try again</Button></p>}
      {query.isPending && <Loader type="dots" aria-label="Fetching your files" />}
      {first !== undefined && files.length === 0 && <p className="note">No files yet. What you send in rooms shows here.</p>}
      <ul className="my-files" ref={list} tabIndex={-1} aria-label="My files">
        {files.map((file, at) => <Item key={file.id} file={file} onGone={() => gone(at)} />)}
      </ul>
      {query.hasNextPage && <Button variant="light" fullWidth loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>Older files</Button>}
    </Modal>
  );
}

function Space({ used, quota }: { used: number; quota: number }) {
  const client = useClient();
  const full = percent({ sent: used, size: quota });
  const words = `${sizeWords(used)} of ${sizeWords(quota)} used`;
  return (
    <div className="space">
      <p><span>{words}</span> <RegionTag region={regionOf(client.me)} long /></p>
      <span className="bar" role="meter" aria-label="Space used" aria-valuemin={0} aria-valuemax={100} aria-valuenow={full} aria-valuetext={words} data-wrong={full >= 90 || undefined}><i style={{ width: `${Math.max(full, used > 0 ? 1 : 0)}%` }} /></span>
    </div>
  );
}

function Item({ file, onGone }: { file: FileInfo; onGone: () => void }) {
  const client = useClient();
  const { attempt } = useToast();
  const { running, problem, start, stop } = useDownload(file);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const today = useToday();
  const bin = useRef<HTMLButtonElement>(null);
  const ready = file.state === "ready";
  const state = { uploading: `${percent({ sent: file.received, size: file.size })} % uploaded`, checking: "being checked", refused: `refused: ${uploadFault(file.reason ?? null)}`, ready: null }[file.state];

  async function remove() {
    setBusy(true);
    const done = await attempt(`${file.name} was not deleted`, () => client.api.deleteFile(file.id));
    setBusy(false);
    if (!done) return;
    client.pictures.forget(file.id);
    onGone();
  }

  return (
    <li className="my-file" aria-label={file.name}>
      <div className="my-file-line">
        <Small file={file} />
        <span className="file-words">
          <span className="file-name" title={file.name}>{file.name}</span>
          <span className="file-more">{sizeWords(file.size)}, {dayWords(Date.parse(file.made_at), today)}{state !== null && `, ${state}`}</span>
          {problem !== null && <span className="file-more" role="alert">{fileFault(file.id, problem).words}</span>}
          {running !== undefined && <Bar label={`Downloading ${file.name}`} value={percent({ sent: running.bytes, size: file.size })} />}
        </span>
        {ready && (running === undefined ? (
          <ActionIcon variant="subtle" size="lg" aria-label={`Download ${file.name}`} onClick={start}><SaveIcon /></ActionIcon>
        ) : (
          <ActionIcon variant="subtle" size="lg" aria-label={`Stop downloading ${file.name}`} onClick={stop}><CloseIcon /></ActionIcon>
        ))}
        <ActionIcon ref={bin} variant="subtle" size="lg" aria-label={`Delete ${file.name}`} aria-expanded={asking} onClick={() => setAsking(!asking)}><TrashIcon /></ActionIcon>
      </div>
      {asking && (
        <div className="my-file-ask" role="group" aria-label={`Delete ${file.name}?`}>
          <p>Delete it for good? Messages that carry it lose it, for everyone.</p>
          {/* eslint-disable-next-line jsx-a11y/no-autofocus -- it was just asked for */}
          <Button size="compact-sm" className="danger" autoFocus loading={busy} onClick={() => void remove()}>Delete</Button>
          <Button size="compact-sm" variant="default" onClick={() => { setAsking(false); bin.current?.focus(); }}>Keep</Button>
        </div>
      )}
    </li>
  );
}

function Small({ file }: { file: FileInfo }) {
  const { url } = usePicture(file.state === "ready" && isPicture(file) ? picturePath(file) : null);
  return url === null ? <FileSign name={file.name} type={file.type} /> : <img className="upload-picture" src={url} alt="" />;
}
