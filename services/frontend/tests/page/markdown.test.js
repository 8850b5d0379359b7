import assert from "node:assert/strict";
import { test } from "node:test";

import { parse } from "../../assets/markdown.js";

// As HTML would have it, with less to read than in a tree.
function shown(blocks) {
    return blocks
        .map((block) => {
            if (typeof block === "string") {
                return block;
            }
            const { name, children, ...attributes } = block;
            const more = Object.entries(attributes).map(([key, value]) => ` ${key}=${value}`);
            return name === "br" ? "<br>" : `<${name}${more.join("")}>${shown(children)}</${name}>`;
        })
        .join("");
}

const show = (text) => shown(parse(text));

test("blocks", () => {
    assert.equal(show("one\ntwo\n\nthree"), "<p>one<br>two</p><p>three</p>");
    assert.equal(show("## Head #\ntext"), "<h3>Head</h3><p>text</p>");
    assert.equal(show("so:\n- a\n- b\n  more\n\nend"), "<p>so:</p><ul><li>a</li><li>b<p>more</p></li></ul><p>end</p>");
    assert.equal(show("3. a\n4) b"), "<ol start=3><li>a</li><li>b</li></ol>");
    assert.equal(show("1. a\n   - b\n   - c\n2. d"), "<ol><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ol>");
    assert.equal(show("> a\n> - b"), "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>");
    assert.equal(show("```js\nlet a = **1**;\n\n- b\n```\nend"), "<pre>let a = **1**;\n\n- b</pre><p>end</p>");
    assert.equal(show("```\nstill coming"), "<pre>still coming</pre>");
    assert.equal(show("\n \n"), "");
});

test("spans", () => {
    assert.equal(show("**a _b_** *c* __d__ `e *f*`"), "<p><strong>a <em>b</em></strong> <em>c</em> <strong>d</strong> <code>e *f*</code></p>");
    assert.equal(show("2 * 3 * 4, snake_case_name, 5*"), "<p>2 * 3 * 4, snake_case_name, 5*</p>");
    assert.equal(show("\\*a\\* **b"), "<p>*a* **b</p>");
    assert.equal(show("``a ` b``"), "<p><code>a ` b</code></p>");
});

test("only the web is linked", () => {
    assert.equal(show("[a *b*](https://c.de/e_(f))"), "<p><a href=https://c.de/e_(f)>a <em>b</em></a></p>");
    assert.equal(show("see https://a.b/c_d."), "<p>see <a href=https://a.b/c_d>https://a.b/c_d</a>.</p>");
    for (const text of ["[x](javascript:alert(1))", "[x](data:text/html,x)", "[x](//a.b)", "[x](JaVaScRiPt:x)", "[x](/api/tasks)", "javascript:x"]) {
        assert.equal(show(text), `<p>${text}</p>`);
    }
});

test("HTML stays text", () => {
    const text = "<img src=x onerror=alert(1)> <b>&amp;</b>";
    assert.deepEqual(parse(text), [{ name: "p", children: [text] }]);
});

test("what is nested too deeply stays as it is", () => {
    assert.ok(shown(parse("> ".repeat(5_000) + "a")).endsWith(`<p>${"> ".repeat(4_992).trim()} a</p>${"</blockquote>".repeat(8)}`));
    for (const piece of ["*a ", "**a ", "**a _b ", "`a ", "[a](", "[*a ", "_a ", "- ", "> "]) {
        parse(piece.repeat(20_000 / piece.length));
    }
    parse(Array.from({ length: 190 }, (_, depth) => `${" ".repeat(depth)}- a`).join("\n"));
});
