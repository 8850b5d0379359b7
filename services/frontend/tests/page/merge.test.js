import assert from "node:assert/strict";
import { test } from "node:test";

import { bodyOf, changedFields, merge, tagsOf, valuesOf } from "../../assets/merge.js";

const TASK = { title: "milk", description: null, due_on: "2026-12-04", due_time: null, priority: "low", tags: ["home", "shop"] };
const BASE = valuesOf(TASK);

test("a form has text", () => {
    assert.deepEqual(BASE, { title: "milk", description: "", due_on: "2026-12-04", due_time: "", priority: "low", tags: "home, shop" });
    assert.equal(valuesOf({}).priority, "medium");
    assert.deepEqual(tagsOf(" #Shop, home ,, shop"), ["home", "shop"]);
});

test("only what was changed is sent", () => {
    const mine = { ...BASE, title: " milk ", tags: "shop,home", due_time: "17:00" };
    assert.deepEqual(changedFields(BASE, mine), ["due_time"]);
    assert.deepEqual(bodyOf(mine, ["due_time"], "Europe/Berlin"), { due_time: "17:00", time_zone: "Europe/Berlin" });
    assert.deepEqual(bodyOf({ ...BASE, due_on: "", tags: "" }, ["due_on", "tags"], "UTC"), { due_on: null, due_time: null, tags: [] });
    assert.deepEqual(bodyOf({ ...BASE, title: "oat milk" }, ["title"], "UTC"), { title: "oat milk" });
});

test("changes of different fields go together", () => {
    const mine = { ...BASE, title: "oat milk" };
    const theirs = { ...BASE, priority: "high" };
    assert.deepEqual(merge(BASE, mine, theirs), { values: { ...BASE, title: "oat milk", priority: "high" }, conflicts: [] });
});

test("what was typed stays where both changed the same", () => {
    const mine = { ...BASE, title: "oat milk", tags: "a" };
    const theirs = { ...BASE, title: "soy milk", tags: "A", description: "two" };
    const { values, conflicts } = merge(BASE, mine, theirs);
    assert.deepEqual(conflicts, ["title"]);
    assert.deepEqual(values, { ...theirs, title: "oat milk", tags: "a" });
});
