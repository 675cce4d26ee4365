/** What views of files share: pictures from memory, downloads, attaching, dropping, and the picture that is looked at. */
import { createContext, type DragEvent, useCallback, useEffect, useState, useSyncExternalStore } from "react";

import { drafts } from "../core/uploads";
import type { FileRef, Problem } from "../core/wire";
import type { Download } from "../shell/downloads";
import { ApiError } from "../shell/fault";
import type { Picture } from "../shell/pictures";
import { fitName, screen } from "./fileWords";
import { useClient } from "./hooks";
import { useToast } from "./Toast";

const NO_PICTURE: Picture = { url: null, problem: null };

/** Shows the picture of this id, large. */
export const ViewerContext = createContext<(file: string) => void>(() => undefined);

/** A picture as long as it is on the screen. */
export function usePicture(path: string | null): Picture {
  const { pictures } = useClient();
  useEffect(() => (path === null ? undefined : pictures.hold(path)), [pictures, path]);
  return useSyncExternalStore(pictures.subscribe, () => (path === null ? NO_PICTURE : pictures.get(path)));
}

/** The download of one file: how far it is, why it failed, and how to begin or stop it. */
export function useDownload(file: FileRef): { running: Download | undefined; problem: Problem | null; start: () => void; stop: () => void } {
  const { downloads } = useClient();
  const running = useSyncExternalStore(downloads.subscribe, () => downloads.running.get(file.id));
  const [problem, setProblem] = useState<Problem | null>(null);
  const start = () => {
    setProblem(null);
    downloads.start(file).catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error;
      setProblem(error.problem);
    });
  };
  return { running, problem, start, stop: () => downloads.letGo(file.id) };
}

/** A file whose name the server takes; pictures from the clipboard all have the same one, so they get their time. */
function named(file: File): File {
  const pasted = file.name === "image.png" && Date.now() - file.lastModified < 5_000;
  const name = pasted ? `Picture ${new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".")}.png` : fitName(file.name);
  return name === file.name ? file : new File([file], name, { type: file.type, lastModified: file.lastModified });
}

/** Attaches files to the message that is being written, and says which cannot be. */
export function useAttach(room: string): (files: readonly File[]) => void {
  const client = useClient();
  const { say } = useToast();
  return useCallback(
    (files) => {
      const { taken, refused } = screen(files.map(named), drafts(client.state, room).length, client.state.uploads.length);
      if (refused.length > 0) say(refused.join(" "));
      if (taken.length > 0) client.attach(room, taken);
    },
    [client, room, say],
  );
}

const carriesFiles = (data: DataTransfer) => data.types.includes("Files");

/** Files that were dropped, and the names of folders among them. */
function dropped(data: DataTransfer): { files: File[]; folders: string[] } {
  const files: File[] = [];
  const folders: string[] = [];
  for (const item of data.items) {
    const file = item.kind === "file" ? item.getAsFile() : null;
    if (file === null) continue;
    if (item.webkitGetAsEntry()?.isDirectory === true) folders.push(file.name);
    else files.push(file);
  }
  return { files, folders };
}

/** A place where files can be dropped: whether some hover over it, and what its element listens to. */
export function useDropZone(take: (files: readonly File[]) => void) {
  const { say } = useToast();
  const [over, setOver] = useState(false);
  const handlers = {
    onDragEnter: (event: DragEvent) => {
      if (carriesFiles(event.dataTransfer)) setOver(true);
    },
    onDragOver: (event: DragEvent) => {
      if (!carriesFiles(event.dataTransfer)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    },
    onDragLeave: (event: DragEvent) => {
      if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
    },
    onDrop: (event: DragEvent) => {
      if (!carriesFiles(event.dataTransfer)) return;
      event.preventDefault();
      setOver(false);
      const { files, folders } = dropped(event.dataTransfer);
      if (folders[0] !== undefined) say(`${folders[0]} is a folder. Pack it into one file first.`);
      if (files.length > 0) take(files);
    },
  };
  return { over, handlers };
}

/** Elsewhere on the page a dropped file must not replace the page. */
export function useNoStrayDrops(): void {
  useEffect(() => {
    const refuse = (event: globalThis.DragEvent) => {
      if (event.defaultPrevented || event.dataTransfer === null || !carriesFiles(event.dataTransfer)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "none";
    };
    window.addEventListener("dragover", refuse);
    window.addEventListener("drop", refuse);
    return () => {
      window.removeEventListener("dragover", refuse);
      window.removeEventListener("drop", refuse);
    };
  }, []);
}
