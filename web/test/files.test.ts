import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { FILE_BYTES_MAX, FILE_NAME_CHARS_MAX } from "../src/core/limits";
import type { Upload } from "../src/core/model";
import { type Body, type FileRef, filesOf, type Problem, textOf } from "../src/core/wire";
import { ApiError } from "../src/shell/fault";
import { isPicture, picturePath, Pictures } from "../src/shell/pictures";
import { move, square, WHOLE } from "../src/views/crop";
import { extension, fileFault, fileKind, filesWords, fitName, screen, sizeWords, uploadsSaid, uploadWords } from "../src/views/fileWords";
import { columns, filesHeight, partsOf, singleBox } from "../src/views/gallery";

const file = (id: string, change: Partial<FileRef> = {}): FileRef => ({ id, name: `${id}.png`, type: "image/png", size: 1000, width: 800, height: 600, thumbnail: true, ...change });
const problem = (status: number, code: string, change: Partial<Problem> = {}): Problem => ({ status, code, title: "", detail: "", ...change });

describe("a body that is not as it should be", () => {
  const body = (files: unknown, text: unknown = "") => ({ kind: "text", text, files }) as Body;

  it("shows what of its files can be shown", () => {
    expect(filesOf(null)).toEqual([]);
    for (const files of ["x", 5, {}, null, undefined, [null, "x", { id: 5 }, { id: "fil_apac_1" }]]) expect(filesOf(body(files))).toEqual([]);
    const good = [file("fil_apac_1")];
    expect(filesOf(body(good))).toBe(good);
    expect(filesOf(body([...good, 5]))).toEqual(good);
    expect([textOf(body([], 5)), textOf(body([], "hi"))]).toEqual(["", "hi"]);
  });

  it("leads nowhere else by its ids", () => {
    expect(picturePath(file("../me?a=#"))).toBe("/v1/files/..%2Fme%3Fa%3D%23/content?size=small");
  });
});

describe("files before they are uploaded", () => {
  it("are refused with a reason when they are empty, too large, or too many", () => {
    const offered = [{ name: "a", size: 1 }, { name: "none", size: 0 }, { name: "huge", size: FILE_BYTES_MAX + 1 }, { name: "b", size: FILE_BYTES_MAX }];
    const { taken, refused } = screen(offered, 0, 0);
    expect(taken.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(refused).toEqual(["none is empty, or a folder.", "huge is larger than 512 MB."]);
    expect(screen(offered, 9, 9)).toMatchObject({ taken: [{ name: "a" }], refused: [expect.any(String), expect.any(String), "One message carries up to 10 files; 1 was left out."] });
    expect(screen(offered, 0, 100).taken).toEqual([]);
  });

  it("have names that the server takes, with their ends kept", () => {
    expect(fitName("a/b\\c\u0007d.txt")).toBe("a b c d.txt");
    expect(fitName("cod\u202egpj.exe\u2028x\ud800y\ufeff")).toBe("cod gpj.exe x y");
    expect(fitName("👩\u200d💻.png")).toBe("👩\u200d💻.png");
    expect(fitName("  ")).toBe("file");
    const long = fitName(`${"🌙".repeat(300)}.jpeg`);
    expect(Array.from(long)).toHaveLength(FILE_NAME_CHARS_MAX);
    expect(long.endsWith("….jpeg")).toBe(true);
    expect(extension("archive.tar.gz")).toBe("GZ");
    expect(extension("README")).toBe("");
  });
});

describe("words about files", () => {
  it("say sizes and kinds as people do", () => {
    expect([1, 999, 1_000, 1_536, 1_048_576, 150 * 1_048_576, 5 * 1_073_741_824].map(sizeWords)).toEqual(["1 byte", "999 bytes", "1 KB", "1.5 KB", "1 MB", "150 MB", "5 GB"]);
    expect(["image/png", "video/mp4", "application/pdf", "application/zip", "application/json", "application/x-thing"].map(fileKind)).toEqual(["picture", "video", "document", "archive", "text", "other"]);
    expect(filesWords([file("a")])).toBe("sent a picture, a.png");
    expect(filesWords([file("a"), file("b", { type: "text/plain" })])).toBe("sent 2 files");
  });

  const upload: Upload = { key: "a", room: "r", post: null, name: "a.png", size: 1000, type: "image/png", state: "busy", file: null, unsure: false, sent: 0, request: 1, code: null, tries: 0, due_ms: 0 };

  it("say how far an upload is, why it failed and what to do", () => {
    expect(uploadWords({ ...upload, sent: 419 }, true)).toBe("41 %");
    expect(uploadWords(upload, false)).toBe("waiting for a connection");
    expect(uploadWords({ ...upload, state: "failed", code: "quota_exceeded" }, true)).toBe("not uploaded: your space is full. Delete files that you need no longer, then try again");
  });

  it("are spoken at quarters, not at every per cent", () => {
    const said = new Set(Array.from({ length: 1000 }, (_, sent) => uploadsSaid([{ ...upload, sent }])));
    expect([...said]).toEqual(["Uploading 1 file.", "Uploading 1 file, 25 per cent.", "Uploading 1 file, 50 per cent.", "Uploading 1 file, 75 per cent."]);
    expect(uploadsSaid([{ ...upload, state: "ready" }, { ...upload, state: "failed", code: "infected" }])).toBe("1 file is uploaded. a.png: harmful content was found in it.");
  });

  it("say why a file cannot be shown, and whether it may be later", () => {
    expect(fileFault("fil_apac_1", problem(503, "file_held"))).toEqual({ words: "Held in APAC, which cannot be reached now.", again: true });
    expect(fileFault("fil_apac_1", problem(404, "file_unknown"))).toEqual({ words: "This file was deleted.", again: false });
  });
});

describe("the gallery", () => {
  it("keeps the room of a picture before it has come, in its own shape and never larger than itself", () => {
    expect(singleBox({ width: 1600, height: 900 })).toEqual({ width: 320, height: 180 });
    expect(singleBox({ width: 900, height: 1600 })).toEqual({ width: 146, height: 260 });
    expect(singleBox({ width: 100, height: 80 })).toEqual({ width: 100, height: 80 });
    expect(singleBox({ width: 4000, height: 10 })).toEqual({ width: 320, height: 56 });
  });

  it("shows only what browsers show safely, and only in a size that is worth it", () => {
    expect([file("a"), file("b", { type: "image/svg+xml" }), file("c", { width: null }), file("d", { thumbnail: false, size: 50_000_000 }), file("e", { type: "text/html" })].filter(isPicture).map(({ id }) => id)).toEqual(["a"]);
    expect([2, 3, 4, 5, 9].map(columns)).toEqual([2, 3, 2, 3, 3]);
    expect(filesHeight([])).toBe(0);
    expect(filesHeight([file("a"), file("b"), file("c", { type: "text/plain" })])).toBeGreaterThan(filesHeight([file("a"), file("b")]));
    expect(partsOf([file("a"), file("b", { type: "text/plain" })]).others.map(({ id }) => id)).toEqual(["b"]);
  });
});

describe("the cut-out of a portrait", () => {
  it("is a square that never leaves the picture", () => {
    const size = { width: 400, height: 200 };
    expect(square(size, WHOLE)).toEqual({ x: 100, y: 0, side: 200 });
    expect(square(size, { zoom: 2, x: 0, y: 1 })).toEqual({ x: 0, y: 100, side: 100 });
    let crop = WHOLE;
    for (let i = 0; i < 50; i += 1) crop = move(size, crop, 0.3, 0.3);
    expect(square(size, crop)).toEqual({ x: 200, y: 0, side: 200 });
    expect(square(size, move(size, crop, -0.5, 0)).x).toBe(100); // what was pushed against the edge is not owed
  });
});

describe("pictures in memory", () => {
  const made: string[] = [];
  const revoked: string[] = [];
  let asked: { path: string; signal: AbortSignal; give: (blob: Blob) => void; fail: (error: ApiError) => void }[] = [];
  const fetchBlob = (path: string, signal: AbortSignal) => new Promise<Blob>((give, fail) => asked.push({ path, signal, give, fail }));
  const settle = () => vi.advanceTimersByTimeAsync(1);

  beforeEach(() => {
    vi.useFakeTimers();
    made.length = revoked.length = 0;
    asked = [];
    vi.stubGlobal("URL", { createObjectURL: () => made[made.push(`blob:${made.length}`) - 1], revokeObjectURL: (url: string) => revoked.push(url) });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("are asked for once however many look, a few at a time, and stopped when nobody waits for them", async () => {
    const pictures = new Pictures(fetchBlob);
    const holds = Array.from({ length: 9 }, (_, i) => [pictures.hold(`/p${i}`), pictures.hold(`/p${i}`)]);
    expect(asked.map(({ path }) => path)).toEqual(["/p0", "/p1", "/p2", "/p3", "/p4", "/p5"]);
    for (const release of holds[0] ?? []) release();
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[1]?.give(new Blob(["x"]));
    await settle();
    expect(asked.at(-1)?.path).toBe("/p6");
    expect(pictures.get("/p1")).toEqual({ url: "blob:0", problem: null });
  });

  it("are let go when nobody has looked for longest, and never while somebody looks", async () => {
    const pictures = new Pictures(fetchBlob, 25);
    const release = ["/a", "/b", "/c", "/d"].map((path) => pictures.hold(path));
    for (const one of asked) one.give(new Blob(["0123456789"]));
    await settle();
    expect(revoked).toEqual([]);
    for (const i of [1, 0, 3]) release[i]?.();
    expect(revoked).toEqual(["blob:0"]);
    expect(pictures.get("/c").url).toBe("blob:2");
    pictures.clear();
    expect(revoked.sort()).toEqual(["blob:0", "blob:1", "blob:2", "blob:3"]);
  });

  it("of an erased message or a deleted file are forgotten at once, small and large", async () => {
    const pictures = new Pictures(fetchBlob);
    pictures.put(picturePath(file("fil_emea_1")), new Blob(["x"]));
    pictures.hold("/v1/files/fil_emea_1/content");
    pictures.put(picturePath(file("fil_emea_12")), new Blob(["y"]));
    pictures.forget("fil_emea_1");
    expect(revoked).toEqual(["blob:0"]);
    asked[0]?.give(new Blob(["late"]));
    await settle();
    expect(pictures.get("/v1/files/fil_emea_1/content")).toMatchObject({ url: null, problem: { status: 410 } }); // somebody still looks
    expect(pictures.get(picturePath(file("fil_emea_12"))).url).toBe("blob:1");
  });

  it("that could not be had say why, are asked for again by themselves if that may help, and at once when told so", async () => {
    const pictures = new Pictures(fetchBlob);
    pictures.hold("/held");
    pictures.hold("/gone");
    asked[0]?.fail(new ApiError(problem(503, "file_held", { region: "apac" })));
    asked[1]?.fail(new ApiError(problem(404, "file_unknown")));
    await settle();
    expect(pictures.get("/held").problem).toMatchObject({ code: "file_held" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.slice(2).map(({ path }) => path)).toEqual(["/held"]);
    asked[2]?.fail(new ApiError(problem(503, "file_held")));
    await settle();
    pictures.again("/held");
    expect(pictures.get("/held").problem).toBeNull();
    asked[3]?.give(new Blob(["x"]));
    await settle();
    expect(pictures.get("/held").url).toBe("blob:0");
  });
});
