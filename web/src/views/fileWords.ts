/** How files are called and said: sizes, kinds, how far they are, and why not.  Pure. */
import { FILE_BYTES_MAX, FILE_NAME_CHARS_MAX, FILES_PER_ENTRY_MAX, UPLOADS_MAX } from "../core/limits";
import type { Upload } from "../core/model";
import { type FileRef, type Problem, regionOf } from "../core/wire";
import { codeWords, count, shortRegion } from "./words";

const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** 1,536 bytes are "1.5 KB". */
export function sizeWords(bytes: number): string {
  if (bytes === 1) return "1 byte";
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : Number(value.toFixed(1))} ${UNITS[unit] ?? ""}`;
}

export type FileKind = "picture" | "video" | "audio" | "text" | "archive" | "document" | "other";

const DOCUMENTS = /pdf|msword|officedocument|opendocument|ms-excel|ms-powerpoint|rtf|epub/;
const ARCHIVES = /zip|compressed|x-tar|gzip|x-7z|x-rar|bzip|zstd|x-xz/;

export function fileKind(type: string): FileKind {
  const [family] = type.split("/");
  if (family === "image") return "picture";
  if (family === "video" || family === "audio" || family === "text") return family;
  if (DOCUMENTS.test(type)) return "document";
  if (ARCHIVES.test(type)) return "archive";
  return /json|xml|javascript/.test(type) ? "text" : "other";
}

/** The last letters of a name, as a file's icon shows them. */
export function extension(name: string): string {
  const found = /\.([\p{L}\p{N}]{1,5})$/u.exec(name)?.[1] ?? "";
  return found.length > 4 ? found.slice(0, 4).toUpperCase() : found.toUpperCase();
}

/** A name that the server takes, with its end still on it. */
export function fitName(name: string): string {
  const chars = Array.from(name.replaceAll(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}/\\]|(?![\u200c\u200d])\p{Cf}/gu, " ").trim());
  if (chars.length === 0) return "file";
  if (chars.length <= FILE_NAME_CHARS_MAX) return chars.join("");
  const end = extension(name) === "" ? "" : name.slice(name.lastIndexOf("."));
  return chars.slice(0, FILE_NAME_CHARS_MAX - Array.from(end).length - 1).join("") + "…" + end;
}

interface Offered {
  readonly name: string;
  readonly size: number;
}

/** Which of the files that were offered can be attached, and why not the others; before anything is uploaded. */
export function screen<T extends Offered>(offered: readonly T[], attached: number, waiting: number): { taken: T[]; refused: string[] } {
  const taken: T[] = [];
  const refused: string[] = [];
  const room = Math.min(FILES_PER_ENTRY_MAX - attached, UPLOADS_MAX - waiting);
  let extra = 0;
  for (const file of offered) {
    if (file.size === 0) refused.push(`${file.name} is empty, or a folder.`);
    else if (file.size > FILE_BYTES_MAX) refused.push(`${file.name} is larger than ${sizeWords(FILE_BYTES_MAX)}.`);
    else if (taken.length >= room) extra += 1;
    else taken.push(file);
  }
  if (extra > 0) refused.push(FILES_PER_ENTRY_MAX - attached <= UPLOADS_MAX - waiting ? `One message carries up to ${FILES_PER_ENTRY_MAX} files; ${count(extra, "was", "were")} left out.` : "Too many files are on their way already; let some arrive first.");
  return { taken, refused };
}

/** How far an upload is, 0 to 100. */
export const percent = ({ sent, size }: { sent: number; size: number }) => Math.floor((100 * sent) / Math.max(1, size));

export function uploadWords(upload: Upload, live: boolean): string {
  if (upload.state === "failed") return `not uploaded: ${uploadFault(upload.code)}`;
  if (upload.state === "ready") return "uploaded";
  if (!live) return "waiting for a connection";
  if (upload.file?.state === "checking") return "being checked";
  if (upload.file !== null && upload.sent >= upload.size) return "finishing";
  return upload.file === null && upload.state === "waiting" && upload.tries === 0 ? "waiting for its turn" : `${percent(upload)} %`;
}

const FAULTS: Record<string, string> = {
  file_too_large: `it is larger than ${sizeWords(FILE_BYTES_MAX)}. Send a smaller one`,
  quota_exceeded: "your space is full. Delete files that you need no longer, then try again",
  files_too_many: "you have too many files. Delete some that you need no longer, then try again",
  uploads_too_many: "too many of your files are unfinished. Wait until some have arrived, then try again",
  name_malformed: "its name cannot be used. Rename it and attach it anew",
  infected: "harmful content was found in it",
  type_not_allowed: "files of this kind are not allowed here",
  unreachable: "the server cannot be reached. Try again",
  file_held: "your region cannot be reached. Try again later",
};

/** Why it failed, and what to do next. */
export function uploadFault(code: string | null): string {
  return FAULTS[code ?? ""] ?? codeWords(code);
}

/** May trying again help, with the very same file? */
export function worthAgain(code: string | null): boolean {
  return !["file_too_large", "name_malformed", "infected", "type_not_allowed"].includes(code ?? "");
}

export interface FileFault {
  readonly words: string;
  readonly again: boolean; // it may be had later
}

/** Why a file cannot be shown. */
export function fileFault(file: string, problem: Problem): FileFault {
  if (problem.status === 404 || problem.status === 410) return { words: "This file was deleted.", again: false };
  if (problem.status === 403) return { words: "You may not see this file.", again: false };
  if (problem.status === 503 || problem.status === 504 || problem.code === "file_held") {
    return { words: `Held in ${shortRegion(problem.region ?? regionOf(file))}, which cannot be reached now.`, again: true };
  }
  return { words: `It could not be had: ${codeWords(problem.code)}.`, again: true };
}

/** What a message without words is about. */
export function filesWords(files: readonly FileRef[]): string {
  const [first] = files;
  if (first === undefined) return "a new message";
  if (files.length === 1) return `sent ${fileKind(first.type) === "picture" ? "a picture" : "a file"}, ${first.name}`;
  return `sent ${files.length} ${files.every(({ type }) => fileKind(type) === "picture") ? "pictures" : "files"}`;
}

/** Uploads as a screen reader says them: when they begin, at each quarter, when they end or fail; not every per cent. */
export function uploadsSaid(uploads: readonly Upload[]): string {
  if (uploads.length === 0) return "";
  const failed = uploads.filter(({ state }) => state === "failed");
  const going = uploads.filter(({ state }) => state === "waiting" || state === "busy");
  const [first] = failed;
  const faults = first === undefined ? "" : ` ${first.name}: ${uploadFault(first.code)}.${failed.length > 1 ? ` ${count(failed.length - 1, "more file", "more files")} failed, too.` : ""}`;
  if (going.length === 0) return (failed.length === uploads.length ? "" : `${count(uploads.length - failed.length, "file is", "files are")} uploaded.`) + faults;
  const size = going.reduce((sum, one) => sum + one.size, 0);
  const quarter = Math.floor((4 * going.reduce((sum, one) => sum + one.sent, 0)) / Math.max(1, size)) * 25;
  return `Uploading ${count(going.length, "file", "files")}${quarter > 0 ? `, ${quarter} per cent` : ""}.${faults}`;
}
