/** Files on their way to the server: how far each is, what went wrong and what can be done, and their way out. */
import { ActionIcon, Button, VisuallyHidden } from "@mantine/core";

import type { Upload } from "../core/model";
import { Bar, FileSign } from "./Files";
import { percent, sizeWords, uploadsSaid, uploadWords, worthAgain } from "./fileWords";
import { useClient, useCore } from "./hooks";
import { CloseIcon, FaultIcon, TickIcon } from "./icons";

export function UploadList({ uploads, label, onRemove, tab = 0 }: { uploads: readonly Upload[]; label: string; onRemove: (key: string) => void; tab?: 0 | -1 }) {
  return <ul className="uploads" aria-label={label}>{uploads.map((one) => <UploadItem key={one.key} upload={one} onRemove={() => onRemove(one.key)} tab={tab} />)}</ul>;
}

function UploadItem({ upload, onRemove, tab }: { upload: Upload; onRemove: () => void; tab: 0 | -1 }) {
  const client = useClient();
  const live = useCore((state) => state.link.phase === "live");
  const preview = client.uploader.preview(upload.key);
  const failed = upload.state === "failed";
  return (
    <li className="upload" data-state={upload.state}>
      {preview === null ? <FileSign name={upload.name} type={upload.type} /> : <img className="upload-picture" src={preview} alt="" />}
      <span className="file-words">
        <span className="file-name" title={upload.name}>{upload.name}</span>
        <span className="file-more">
          {failed ? <FaultIcon /> : upload.state === "ready" && <TickIcon />} {sizeWords(upload.size)}, {uploadWords(upload, live)}{failed && "."}
          {failed && worthAgain(upload.code) && <Button size="compact-xs" variant="light" tabIndex={tab} aria-label={`Try again to upload ${upload.name}`} onClick={() => client.do({ t: "upload_again", key: upload.key })}>Try again</Button>}
        </span>
        {!failed && upload.state !== "ready" && <Bar label={`Uploading ${upload.name}`} value={percent(upload)} />}
      </span>
      <ActionIcon variant="subtle" size="md" tabIndex={tab} data-remove={upload.key} aria-label={`Remove ${upload.name}`} onClick={onRemove}><CloseIcon /></ActionIcon>
    </li>
  );
}

/** Tells screen readers how uploads go, seldom. */
export function UploadsAloud() {
  const words = useCore((state) => uploadsSaid(state.uploads));
  return <VisuallyHidden role="status" aria-label="Uploads">{words}</VisuallyHidden>;
}
