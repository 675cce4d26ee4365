/**
 * A message's text as React elements.  `marked` only cuts it into tokens: no HTML is ever made from text, so what
 * looks like HTML is shown as it was written, and only http, https and mailto become links.
 */
import { lexer, type Token, type Tokens } from "marked";
import { Fragment, memo, type ReactNode } from "react";

const OPTIONS = { gfm: true, breaks: true };
const LINKS = new Set(["http:", "https:", "mailto:"]);

/** The address if it may be followed, else null. */
export function safeLink(href: string): string | null {
  try {
    const url = new URL(href);
    return LINKS.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return <div className="markdown">{blocks(lexer(text, OPTIONS))}</div>;
});

function blocks(tokens: readonly Token[]): ReactNode[] {
  return tokens.map((token, i) => <Fragment key={i}>{one(token)}</Fragment>);
}

function inner(token: Token): ReactNode {
  return "tokens" in token && Array.isArray(token.tokens) ? blocks(token.tokens) : plain(token);
}

/** The token's words, with the entities that the lexer made of quotes and brackets turned back. */
function plain(token: Token): string {
  return "text" in token && typeof token.text === "string" ? token.text : token.raw;
}

function one(token: Token): ReactNode {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "paragraph":
      return <p>{inner(token)}</p>;
    case "heading":
      return <p><strong>{inner(token)}</strong></p>;
    case "text":
      return inner(token);
    case "strong":
      return <strong>{inner(token)}</strong>;
    case "em":
      return <em>{inner(token)}</em>;
    case "del":
      return <del>{inner(token)}</del>;
    case "codespan":
      return <code>{plain(token)}</code>;
    case "code":
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, so the keyboard must reach it
      return <pre tabIndex={0} role="region" aria-label="Code"><code>{plain(token)}</code></pre>;
    case "blockquote":
      return <blockquote>{inner(token)}</blockquote>;
    case "br":
      return <br />;
    case "hr":
      return <hr />;
    case "list":
      return list(token as Tokens.List);
    case "table":
      return table(token as Tokens.Table);
    case "link":
    case "image":
      return link(token as Tokens.Link);
    default:
      return token.type === "escape" ? plain(token) : token.raw;
  }
}

function list(token: Tokens.List): ReactNode {
  const items = token.items.map((item, i) => (
    <li key={i}>
      {item.task && <span aria-label={item.checked ? "done" : "to do"}>{item.checked ? "☑ " : "☐ "}</span>}
      {blocks(item.tokens.filter((inside) => inside.type !== "checkbox"))}
    </li>
  ));
  return token.ordered ? <ol start={token.start === "" ? 1 : token.start}>{items}</ol> : <ul>{items}</ul>;
}

function table(token: Tokens.Table): ReactNode {
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, so the keyboard must reach it
    <div className="markdown-table" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead><tr>{token.header.map((cell, i) => <th key={i} scope="col">{blocks(cell.tokens)}</th>)}</tr></thead>
        <tbody>{token.rows.map((row, i) => <tr key={i}>{row.map((cell, j) => <td key={j}>{blocks(cell.tokens)}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

function link(token: Tokens.Link | Tokens.Image): ReactNode {
  const href = safeLink(token.href);
  if (href === null) return token.raw;
  return <a href={href} target="_blank" rel="noopener noreferrer nofollow">{token.type === "link" ? inner(token) : token.text || token.href}</a>;
}
