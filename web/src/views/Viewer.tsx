/** One picture of a room, large; the arrow keys go to the others that are on hand. */
import { ActionIcon, Loader, Modal } from "@mantine/core";
import { type KeyboardEvent, type ReactNode, useEffect, useMemo, useRef, useState } from "react";

import { type FileRef, filesOf, type Row } from "../core/wire";
import { contentPath, picturePath } from "../shell/pictures";
import { useDownload, usePicture } from "./fileHooks";
import { fileFault, percent, sizeWords } from "./fileWords";
import { partsOf } from "./gallery";
import { useClient, useCore, useFocusBack } from "./hooks";
import { AgainIcon, BackIcon, CloseIcon, ForthIcon, LargerIcon, SaveIcon, SmallerIcon } from "./icons";
import { fullTimeOf, personName } from "./words";

const ZOOM_STEP = 1.5;
const ZOOM_MIN = 0.1;
const ZOOM_MAX = 8;
const WHOLE_BYTES_MAX = 96 * 1_048_576; // beyond it only the small form is shown

interface Shown {
  readonly file: FileRef;
  readonly row: Row;
}

/** The pictures of the rows on hand, the oldest first. */
export function picturesOf(rows: readonly Row[]): Shown[] {
  return rows.flatMap((row) => (row.state === "ok" ? partsOf(filesOf(row.body)).pictures.map((file) => ({ file, row })) : []));
}

export default function Viewer({ room, file, onFile, onClose }: { room: string; file: string; onFile: (file: string) => void; onClose: () => void }) {
  useFocusBack();
  const rows = useCore((state) => state.rooms.get(room)?.rows);
  const list = useMemo(() => picturesOf(rows ?? []), [rows]);
  const at = list.findIndex((one) => one.file.id === file);
  const shown = list[at];

  useEffect(() => {
    if (shown === undefined) onClose(); // it was erased meanwhile
  }, [shown, onClose]);

  return (
    <Modal.Root opened={shown !== undefined} onClose={onClose} fullScreen>
      <Modal.Overlay />
      <Modal.Content className="viewer" aria-label="Picture">
        {shown !== undefined && <Inner shown={shown} at={at} of={list.length} go={(by) => { const next = list[at + by]; if (next !== undefined) onFile(next.file.id); }} onClose={onClose} />}
      </Modal.Content>
    </Modal.Root>
  );
}

function Inner({ shown: { file, row }, at, of, go, onClose }: { shown: Shown; at: number; of: number; go: (by: -1 | 1) => void; onClose: () => void }) {
  const author = useCore((state) => personName(state, row.author ?? ""));
  const [zoomed, setZoomed] = useState<{ file: string; zoom: number } | null>(null);
  const zoom = zoomed?.file === file.id ? zoomed.zoom : null; // null: as large as fits
  const stage = useRef<HTMLDivElement>(null);
  const width = file.width ?? 1;
  const { running, problem, start } = useDownload(file);

  /** How large it is drawn now, 1 being its own size. */
  const setZoom = (next: number | null) => setZoomed(next === null ? null : { file: file.id, zoom: next });
  const scale = () => zoom ?? (stage.current?.querySelector("img")?.clientWidth ?? width) / width;
  const enlarge = (by: number) => setZoom(Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, scale() * by)));

  function onKey(event: KeyboardEvent) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const act = {
      ArrowLeft: zoom === null ? () => go(-1) : undefined, // in a large picture they walk about in it
      ArrowRight: zoom === null ? () => go(1) : undefined,
      "+": () => enlarge(ZOOM_STEP),
      "-": () => enlarge(1 / ZOOM_STEP),
      "0": () => setZoom(null),
      "1": () => setZoom(1),
    }[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }

  return (
    // eslint-disable-next-line jsx-a11y/no-static-element-interactions -- keys of the whole dialog
    <div className="viewer-all" onKeyDown={onKey}>
      <header className="viewer-head">
        <div className="viewer-words">
          <h2>{file.name}</h2>
          {problem !== null && <p role="alert">Not downloaded. {fileFault(file.id, problem).words}</p>}
          <p>{author}, {fullTimeOf(Date.parse(row.at))} · {file.width} × {file.height} · {sizeWords(file.size)}</p>
        </div>
        <p className="sr" role="status">Picture {at + 1} of {of}, {file.name}</p>
        <Tool label="Smaller" keys="-" onClick={() => enlarge(1 / ZOOM_STEP)}><SmallerIcon /></Tool>
        <button type="button" className="viewer-fit" aria-pressed={zoom === null} onClick={() => setZoom(zoom === null ? 1 : null)}>{zoom === null ? "Fit" : `${Math.round(zoom * 100)} %`}</button>
        <Tool label="Larger" keys="+" onClick={() => enlarge(ZOOM_STEP)}><LargerIcon /></Tool>
        <Tool label={running === undefined ? `Download ${file.name}` : `Downloading, ${percent({ sent: running.bytes, size: file.size })} per cent`} onClick={start}>{running === undefined ? <SaveIcon /> : <Loader size={16} />}</Tool>
        <Tool label="Close" keys="Escape" onClick={onClose}><CloseIcon /></Tool>
      </header>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls when the picture is larger than it */}
      <div className="viewer-stage" ref={stage} tabIndex={0} data-autofocus role="group" aria-label={`${at + 1} of ${of}`} data-zoomed={zoom !== null || undefined}>
        <Large file={file} zoom={zoom} />
      </div>
      {of > 1 && (
        <>
          <Tool className="viewer-back" label="The picture before" keys="ArrowLeft" off={at === 0} onClick={() => go(-1)}><BackIcon /></Tool>
          <Tool className="viewer-forth" label="The next picture" keys="ArrowRight" off={at === of - 1} onClick={() => go(1)}><ForthIcon /></Tool>
          <p className="viewer-count" aria-hidden="true">{at + 1} / {of}</p>
        </>
      )}
    </div>
  );
}

function Tool({ label, keys, off = false, className, onClick, children }: { label: string; keys?: string; off?: boolean; className?: string; onClick: () => void; children: ReactNode }) {
  return <ActionIcon className={`viewer-tool ${className ?? ""}`} variant="subtle" size="lg" aria-label={label} aria-keyshortcuts={keys} title={label} aria-disabled={off} onClick={off ? undefined : onClick}>{children}</ActionIcon>;
}

/** The picture as it is; until it has come its small form, enlarged. */
function Large({ file, zoom }: { file: FileRef; zoom: number | null }) {
  const client = useClient();
  const path = file.size <= WHOLE_BYTES_MAX ? contentPath(file.id) : picturePath(file);
  const whole = usePicture(path);
  const small = usePicture(whole.url === null && file.thumbnail === true ? picturePath(file) : null);
  const url = whole.url ?? small.url;
  if (whole.problem !== null) {
    const { words, again } = fileFault(file.id, whole.problem);
    return (
      <div className="viewer-fault" role="alert">
        <p>{words}</p>
        {again && <button type="button" className="viewer-fit" onClick={() => client.pictures.again(path)}><AgainIcon /> Try again</button>}
      </div>
    );
  }
  if (url === null) return <Loader type="dots" aria-label="Fetching the picture" />;
  const width = file.width ?? 1;
  const height = file.height ?? 1;
  const style = zoom === null ? { maxWidth: `min(100%, ${width}px)`, aspectRatio: `${width} / ${height}` } : { width: width * zoom, height: height * zoom, maxWidth: "none", maxHeight: "none" };
  return <img src={url} alt={file.name} style={style} data-small={whole.url === null || undefined} width={width} height={height} />;
}
