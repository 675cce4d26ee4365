/** A small file up to the server in one go: for what has no message to wait in. */
import type { FileInfo } from "../core/wire";
import type { Api } from "./api";
import { ApiError } from "./fault";

const TRIES_MAX = 5;
const AGAIN_MS = 400;

/** Gives the file when it is ready.  Throws `ApiError`, also when the server does not want it as it is. */
export async function saveFile(api: Api, blob: Blob, name: string): Promise<FileInfo> {
  let file = await api.makeFile(crypto.randomUUID(), name, blob.size);
  for (let tries = 0; file.state !== "ready"; tries += 1) {
    if (file.state === "refused" || tries >= TRIES_MAX) throw new ApiError({ status: 422, code: file.reason ?? "upload_failed", title: "Refused", detail: "it could not be uploaded" });
    if (file.state === "checking") {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      file = await api.file(file.id);
    } else file = await more(api, file, blob).catch(() => api.file(file.id));
  }
  return file;
}

async function more(api: Api, file: FileInfo, blob: Blob): Promise<FileInfo> {
  for (let now = file; ; ) {
    const span = { from: now.received, to: Math.min(blob.size, now.received + now.part_bytes), total: blob.size };
    now = await api.putPart(now.id, span, blob.slice(span.from, span.to), new AbortController().signal, () => undefined);
    if (now.state !== "uploading" || now.received <= span.from) return now;
  }
}
