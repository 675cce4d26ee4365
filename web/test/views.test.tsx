// @vitest-environment jsdom
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";

import { blank } from "../src/core/core";
import type { Pending } from "../src/core/model";
import { freshView } from "../src/core/rooms";
import { timelineItems } from "../src/views/items";
import { Markdown, safeLink } from "../src/views/Markdown";
import { neighbour, roomLists } from "../src/views/order";
import { hits } from "../src/views/Switcher";
import { codeWords, dayKey, dayWords, initials, pendingWords, typingWords } from "../src/views/words";
import { ME, room, ROOM, row, SHE } from "./playbook";

const html = (text: string) => renderToStaticMarkup(createElement(Markdown, { text }));

describe("markdown", () => {
  it("shows what looks like HTML as it was written", () => {
    const page = document.createElement("div");
    for (const text of ["<script>alert(1)</script>", "a <img src=x onerror=alert(1)> b", "**<b onclick=x>bold</b>**", "`<i>`", "```\n<u>\n```", "# <h1>", "| <a> |\n|---|\n| <b> |"]) {
      page.innerHTML = html(text);
      expect(page.querySelector("script, img, b, i, u, [onclick], [onerror]")).toBeNull();
      expect(page.textContent).toContain("<");
    }
  });

  it("opens links elsewhere without a way back, and only safe ones", () => {
    expect(html("see https://example.org/a?b=1&c=2")).toContain('<a href="https://example.org/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer nofollow">');
    for (const bad of ["[x](javascript:alert(1))", "[x](data:text/html,hi)", "[x](JaVaScRiPt:alert(1))", "![x](vbscript:x)", "[x](/v1/sessions)"]) {
      expect(html(bad)).not.toContain("<a");
    }
    expect(safeLink("mailto:a@example.org")).toBe("mailto:a@example.org");
  });

  it("keeps quotes, ampersands and lines", () => {
    const page = document.createElement("div");
    page.innerHTML = html("Tom & \"Ann\" don't <3\nnext & `a && b`");
    expect(page.textContent).toBe("Tom & \"Ann\" don't <3next & a && b");
    expect(page.querySelector("br")).not.toBeNull();
  });

  it("knows lists, code, quotes and tables", () => {
    expect(html("1. a\n2. b")).toContain("<ol start=\"1\"><li>");
    expect(html("- [x] done")).toContain("☑");
    expect(html("> quoted")).toContain("<blockquote>");
    expect(html("|a|b|\n|-|-|\n|1|2|")).toContain("<td>1</td>");
    expect(html("~~gone~~ *soft* **loud**")).toContain("<del>gone</del> <em>soft</em> <strong>loud</strong>");
  });
});

describe("the timeline's items", () => {
  const view = { ...freshView(room(ROOM)), more: false };
  const at = (minutes: number) => new Date(1_700_000_000_000 + minutes * 60_000).toISOString();

  it("group one author's messages, and begin anew after a while, another author, a day or a line", () => {
    const rows = [row(1, { at: at(0) }), row(2, { at: at(1) }), row(3, { at: at(9) }), row(4, { at: at(10), author: ME }), row(5, { at: at(11) })];
    const items = timelineItems({ ...view, rows, line: 4 }, [], ME);
    expect(items.map((item) => item.kind)).toEqual(["start", "day", "message", "message", "message", "message", "line", "message"]);
    expect(items.flatMap((item) => (item.kind === "message" ? [item.first] : []))).toEqual([true, false, true, true, true]);
  });

  it("draw the line before somebody else's message, never before one's own", () => {
    const rows = [row(1), row(2, { author: ME }), row(3)];
    expect(timelineItems({ ...view, rows, line: 1 }, [], ME).map((item) => item.key).slice(2)).toEqual(["row-1", "row-2", "line-1", "row-3"]);
    expect(timelineItems({ ...view, rows: rows.slice(0, 2), line: 1 }, [], ME).some((item) => item.kind === "line")).toBe(false);
  });

  it("leave redactions out, keep joins and titles as lines of their own, and end with what is pending", () => {
    const pending: Pending = { client_id: "c", room: ROOM, text: "x", files: [], at_ms: Date.parse(at(30)), state: "kept", entry: null, seq: null, code: null, socket: 0, due_ms: 0, tries: 0 };
    const rows = [row(1, { kind: "join", id: null, target: SHE }), row(2, { kind: "redaction", id: null, target: "x" }), row(3, { target: ROOM, body: { kind: "title", title: "T" } })];
    expect(timelineItems({ ...view, rows, more: true }, [pending], ME).map((item) => item.kind)).toEqual(["older", "day", "system", "system", "day", "pending"].filter((kind, i) => kind !== "day" || i === 1 || dayKey(pending.at_ms) !== dayKey(Date.parse(rows[2]?.at ?? ""))));
  });
});

describe("the list of rooms", () => {
  const state = {
    ...blank(ME),
    open: "rom_emea_b",
    people: new Map([[SHE, { name: "Mei Tan", region: "apac", avatar: null }]]),
    rooms: new Map([
      ["rom_emea_a", freshView(room("rom_emea_a", { title: "Alpha", last_at: "2030-01-01T00:00:00Z" }))],
      ["rom_emea_b", freshView(room("rom_emea_b", { title: "Beta", last_at: "2030-01-02T00:00:00Z", unread: 3 }))],
      ["rom_emea_d", freshView(room("rom_emea_d", { title: null, kind: "direct", unread: 1 }))],
      ["rom_emea_gone", freshView(room("rom_emea_gone", { joined: false }))],
    ]),
  };

  it("has the liveliest first and leaves out what one has left", () => {
    const { groups, direct } = roomLists(state);
    expect([...groups, ...direct].map(({ info }) => info.id)).toEqual(["rom_emea_b", "rom_emea_a", "rom_emea_d"]);
  });

  it("is walked through by keyboard, round and round", () => {
    expect(neighbour(state, 1, false)).toBe("rom_emea_a");
    expect(neighbour(state, -1, false)).toBe("rom_emea_d");
    expect(neighbour(state, 1, true)).toBe("rom_emea_d");
    expect(neighbour({ ...state, open: null }, 1, false)).toBe("rom_emea_b");
    expect(neighbour({ ...state, open: null }, -1, false)).toBe("rom_emea_d");
  });

  it("is searched by what names begin with first; somebody one talks with stands once", () => {
    expect(hits(state, "a", [{ id: SHE, name: "Mei Tan", region: "apac" }, { id: "usr_x", name: "Ada", region: "emea" }]).map((hit) => hit.title)).toEqual(["Alpha", "Ada", "Beta", "Mei Tan"]);
  });
});

describe("words", () => {
  it("say days as people do", () => {
    const noon = new Date(2030, 5, 15, 12).getTime();
    const today = dayKey(noon);
    expect(dayWords(noon, today)).toBe("Today");
    expect(dayWords(noon - 86_400_000, today)).toBe("Yesterday");
    expect(dayWords(noon - 5 * 86_400_000, today)).not.toContain("2030");
    expect(dayWords(noon - 400 * 86_400_000, today)).toContain("2029");
  });

  it("say what became of a message, who types, and why something failed", () => {
    const item: Pending = { client_id: "c", room: ROOM, text: "x", files: [], at_ms: 0, state: "kept", entry: null, seq: null, code: null, socket: 0, due_ms: 0, tries: 0 };
    expect(pendingWords(item, "emea", true)).toBe("kept in EMEA, waiting to be placed");
    expect(pendingWords({ ...item, state: "queued" }, "emea", false)).toBe("waiting for a connection");
    expect(pendingWords({ ...item, state: "placed" }, "emea", true)).toBeNull();
    expect(typingWords(["A", "B"])).toBe("A and B are typing…");
    expect(typingWords(["A", "B", "C"])).toBe("Several people are typing…");
    expect(codeWords("some_new_code")).toBe("the server said: some new code");
    expect(initials("Ana María de Souza")).toBe("AS");
    expect(initials("")).toBe("?");
  });
});
