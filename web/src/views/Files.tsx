/** The files of a message: pictures side by side, everything else as cards. */
import { ActionIcon, Button } from "@mantine/core";
import { use } from "react";

import type { FileRef } from "../core/wire";
import { picturePath } from "../shell/pictures";
import { useDownload, usePicture, ViewerContext } from "./fileHooks";
import { extension, fileFault, fileKind, percent, sizeWords } from "./fileWords";
import { columns, partsOf, singleBox } from "./gallery";
import { useClient } from "./hooks";
import { CloseIcon, MoonIcon, SaveIcon } from "./icons";

/** `stop`: its message is the one that the Tab key stops at. */
export function MessageFiles({ files, stop }: { files: readonly FileRef[]; stop: boolean }) {
  const { pictures, others } = partsOf(files);
  const [first] = pictures;
  return (
    <div className="files">
      {first !== undefined && (
        <div className="gallery" data-columns={pictures.length === 1 ? 1 : columns(pictures.length)}>
          {pictures.map((file) => <PictureItem key={file.id} file={file} box={pictures.length === 1 ? singleBox(file) : null} stop={stop} />)}
        </div>
      )}
      {others.map((file) => <FileCard key={file.id} file={file} stop={stop} />)}
    </div>
  );
}

function PictureItem({ file, box, stop }: { file: FileRef; box: { width: number; height: number } | null; stop: boolean }) {
  const view = use(ViewerContext);
  const client = useClient();
  const path = picturePath(file);
  const { url, problem } = usePicture(path);
  const style = box === null ? undefined : { width: box.width, aspectRatio: `${box.width} / ${box.height}` };
  if (problem !== null) {
    const { words, again } = fileFault(file.id, problem);
    return (
      <div className="picture" style={style} data-gone role="group" aria-label={file.name}>
        <p><MoonIcon /> {words}</p>
        {again && <Button size="compact-xs" variant="light" tabIndex={stop ? 0 : -1} onClick={() => client.pictures.again(path)}>Try again</Button>}
      </div>
    );
  }
  return (
    <button type="button" className="picture" style={style} tabIndex={stop ? 0 : -1} aria-haspopup="dialog" aria-busy={url === null} aria-label={url === null ? file.name : undefined} title={file.name} onClick={() => view(file.id)}>
      {url !== null && <img src={url} alt={file.name} />}
    </button>
  );
}

/** A page with the end of the file's name, in the colour of its kind. */
export function FileSign({ name, type }: { name: string; type: string }) {
  return (
    <span className="file-sign" data-kind={fileKind(type)} aria-hidden="true">
      <svg width="30" height="36" viewBox="0 0 30 36"><path className="file-page" d="M4 1h15l8 8v23a3 3 0 0 1-3 3H4a3 3 0 0 1-3-3V4a3 3 0 0 1 3-3Z" /><path className="file-fold" d="M19 1v8h8" /></svg>
      <span data-end={extension(name)} />
    </span>
  );
}

function FileCard({ file, stop }: { file: FileRef; stop: boolean }) {
  const { running, problem, start, stop: letGo } = useDownload(file);
  const fault = problem === null ? null : fileFault(file.id, problem);
  const tab = stop ? 0 : -1;
  return (
    <div className="file" role="group" aria-label={file.name}>
      <FileSign name={file.name} type={file.type} />
      <span className="file-words">
        <span className="file-name" title={file.name}>{file.name}</span>
        {fault === null ? (
          <span className="file-more">{running === undefined ? sizeWords(file.size) : `${sizeWords(running.bytes)} of ${sizeWords(file.size)}`}</span>
        ) : (
          <span className="file-more" role="alert">{fault.words} {fault.again && <Button size="compact-xs" variant="light" tabIndex={tab} onClick={start}>Try again</Button>}</span>
        )}
        {running !== undefined && <Bar label={`Downloading ${file.name}`} value={percent({ sent: running.bytes, size: file.size })} />}
      </span>
      {running === undefined ? (
        <ActionIcon variant="subtle" size="lg" tabIndex={tab} aria-label={`Download ${file.name}`} onClick={start}><SaveIcon /></ActionIcon>
      ) : (
        <ActionIcon variant="subtle" size="lg" tabIndex={tab} aria-label={`Stop downloading ${file.name}`} onClick={letGo}><CloseIcon /></ActionIcon>
      )}
    </div>
  );
}

/** How far something is, 0 to 100. */
export function Bar({ label, value, wrong = false }: { label: string; value: number; wrong?: boolean }) {
  return <span className="bar" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={value} data-wrong={wrong || undefined}><i style={{ width: `${value}%` }} /></span>;
}
