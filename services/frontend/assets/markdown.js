// The Markdown that assistants write: paragraphs, headings, lists, quotes, code, bold, italic and links. `parse` makes a
// tree of plain values, `render` makes nodes of it. No HTML is ever read, so none can be smuggled in.

const FENCE = /^\s*```\s*[\w+-]*\s*$/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.+?)\s*#*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;

// What is nested more deeply than this is left as it was written.
const DEPTH_MAX = 8;

// [{ name: "p", children: ["text", { name: "strong", children: [...] }] }, ...]
export function parse(text, depth = 0) {
    const isQuote = (line) => depth < DEPTH_MAX && QUOTE.test(line);
    const isItem = (line) => depth < DEPTH_MAX && ITEM.test(line);
    const lines = text.replace(/\r\n?/g, "\n").split("\n");
    const blocks = [];
    let at = 0;
    while (at < lines.length) {
        const line = lines[at];
        if (line.trim() === "") {
            at += 1;
        } else if (FENCE.test(line)) {
            const end = indexFrom(lines, at + 1, (other) => /^\s*```\s*$/.test(other));
            blocks.push({ name: "pre", children: [lines.slice(at + 1, end).join("\n")] });
            at = end + 1;
        } else if (HEADING.test(line)) {
            blocks.push({ name: "h3", children: inline(HEADING.exec(line)[2]) });
            at += 1;
        } else if (isQuote(line)) {
            const end = indexFrom(lines, at, (other) => !isQuote(other));
            const quoted = lines.slice(at, end).map((other) => QUOTE.exec(other)[1]).join("\n");
            blocks.push({ name: "blockquote", children: parse(quoted, depth + 1) });
            at = end;
        } else if (isItem(line)) {
            const end = indexFrom(lines, at, (other) => !isItem(other) && !/^\s{2,}\S/.test(other));
            blocks.push(list(lines.slice(at, end), depth));
            at = end;
        } else {
            const isOther = (other) =>
                other.trim() === "" || FENCE.test(other) || HEADING.test(other) || isQuote(other) || isItem(other);
            const end = indexFrom(lines, at + 1, isOther);
            blocks.push({ name: "p", children: withBreaks(lines.slice(at, end)) });
            at = end;
        }
    }
    return blocks;
}

function indexFrom(lines, from, holds) {
    const found = lines.slice(from).findIndex(holds);
    return found < 0 ? lines.length : from + found;
}

// Lines that are indented further than the list's first one belong to the item before them.
function list(lines, depth) {
    const [, indent, mark] = ITEM.exec(lines[0]);
    const made = { name: /\d/.test(mark) ? "ol" : "ul", children: [] };
    if (made.name === "ol" && Number.parseInt(mark, 10) !== 1) {
        made.start = Number.parseInt(mark, 10);
    }
    let at = 0;
    while (at < lines.length) {
        const content = ITEM.exec(lines[at])?.[3] ?? lines[at].trim();
        const end = indexFrom(lines, at + 1, (other) => (ITEM.exec(other)?.[1].length ?? Infinity) <= indent.length);
        const below = lines.slice(at + 1, end);
        const children = inline(content);
        if (below.length > 0) {
            const least = Math.min(...below.map((other) => other.search(/\S/)).filter((column) => column >= 0));
            children.push(...parse(below.map((other) => other.slice(least)).join("\n"), depth + 1));
        }
        made.children.push({ name: "li", children });
        at = end;
    }
    return made;
}

// A line's end within a paragraph is shown, as a chat means it.
function withBreaks(lines) {
    return lines.flatMap((line, index) => (index > 0 ? [{ name: "br", children: [] }] : []).concat(inline(line.trim())));
}

// The first of these that matches is taken, and what is inside is read in turn. An underscore within a word is a letter.
const SPANS = [
    [/^(`+)(?!`)([^]*?[^`])\1(?!`)/, (found) => ({ name: "code", children: [found[2].replace(/^ (.+) $/, "$1")] })],
    [/^\*\*(?=\S)([^]*?\S)\*\*/, (found, depth) => ({ name: "strong", children: inline(found[1], depth) })],
    [/^__(?=\S)([^]*?\S)__(?!\w)/, (found, depth) => ({ name: "strong", children: inline(found[1], depth) })],
    [/^\*(?=[^\s*])([^*]*?[^\s*])\*(?!\*)/, (found, depth) => ({ name: "em", children: inline(found[1], depth) })],
    [/^_(?=[^\s_])([^_]*?[^\s_])_(?!\w)/, (found, depth) => ({ name: "em", children: inline(found[1], depth) })],
    [/^\[([^\]\n]+)\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)/, (found, depth) => link(found[2], inline(found[1], depth), found[0])],
    [/^https?:\/\/[^\s<>"`]*[^\s<>"`.,;:!?'*_)\]]/, (found) => link(found[0], [found[0]], found[0])],
];

function inline(text, depth = 0) {
    if (depth > DEPTH_MAX) {
        return [text];
    }
    const parts = [];
    let plain = "";
    let at = 0;
    while (at < text.length) {
        const char = text[at];
        const escaped = char === "\\" && /[\\`*_[\]()#+\-.!>]/.test(text[at + 1] ?? "");
        const inWord = /[\p{L}\p{N}]/u.test(text[at - 1] ?? "");
        const found = escaped || !/[`*_[h]/.test(char) || (inWord && /[_h]/.test(char)) ? null : span(text.slice(at), depth);
        if (found) {
            if (plain !== "") {
                parts.push(plain);
            }
            plain = "";
            parts.push(found.node);
            at += found.length;
        } else {
            plain += escaped ? text[at + 1] : char;
            at += escaped ? 2 : 1;
        }
    }
    return plain === "" ? parts : [...parts, plain];
}

function span(text, depth) {
    for (const [pattern, make] of SPANS) {
        const found = pattern.exec(text);
        if (found) {
            return { node: make(found, depth + 1), length: found[0].length };
        }
    }
    return null;
}

// Only to the web: no other scheme can be opened from here, and what has one stays as it was written.
function link(address, children, written) {
    return /^https?:\/\/[^\s]/i.test(address) ? { name: "a", href: address, children } : written;
}

const NAMES = new Set(["p", "h3", "ul", "ol", "li", "blockquote", "pre", "code", "strong", "em", "br", "a"]);

export function render(blocks) {
    return blocks.map((block) => {
        if (typeof block === "string") {
            return document.createTextNode(block);
        }
        if (!NAMES.has(block.name)) {
            throw new Error(`${block.name} is not shown`);
        }
        const made = document.createElement(block.name);
        if (block.name === "a") {
            made.href = block.href;
            made.rel = "noopener noreferrer";
            made.target = "_blank";
        }
        if (block.start !== undefined) {
            made.start = block.start;
        }
        made.append(...render(block.children));
        return made;
    });
}
