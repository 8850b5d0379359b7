import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT, destinationOf, emptyKey, queryOf, reorder } from "../../assets/view.js";

test("a view is a query", () => {
    assert.equal(String(queryOf(DEFAULT, 50)), "completed=false&sort=position&limit=50");
    const view = { show: "overdue", tag: "home", q: " a b ", sort: "due" };
    assert.equal(String(queryOf(view, 50, "d1")), "overdue=true&sort=due&limit=50&cursor=d1&tag=home&q=a+b");
    assert.equal(emptyKey(DEFAULT), "empty_open");
    assert.equal(emptyKey(view), "empty_search");
});

test("a task goes where it is moved", () => {
    assert.deepEqual(reorder([1, 2, 3], 3, { before: 1 }), [3, 1, 2]);
    assert.deepEqual(reorder([1, 2, 3], 1, { after: 2 }), [2, 1, 3]);
    assert.deepEqual(reorder([1, 2, 3], 2, { to: "first" }), [2, 1, 3]);
    assert.deepEqual(reorder([1, 2, 3], 2, { to: "last" }), [1, 3, 2]);
});

test("keys move a task as far as it can go", () => {
    const to = (key, id) => destinationOf(key, [1, 2, 3], id);
    assert.deepEqual(to("ArrowUp", 2), { before: 1 });
    assert.deepEqual(to("ArrowDown", 2), { after: 3 });
    assert.deepEqual(to("Home", 3), { before: 1 });
    assert.deepEqual(to("End", 1), { after: 3 });
    assert.deepEqual([to("ArrowUp", 1), to("Home", 1), to("ArrowDown", 3), to("End", 3), to("a", 2)], [null, null, null, null, null]);
});
