import assert from "node:assert/strict";
import { test } from "node:test";

import { newKey, NOTHING, takeEvent, textBesideCalls } from "../../assets/answer.js";

const event = (type, value) => ({ type, data: JSON.stringify(value) });
const CALL = { name: "add_task", summary: "Added #12 \"milk\".", undo_token: "1", failed: false };

test("an answer grows with its events", () => {
    const events = [
        event("user", { id: 1, content: "add milk" }),
        { type: "message", data: null },
        event("delta", { text: "Added" }),
        event("later", {}),
        event("delta", { text: " it." }),
        event("tool_call", CALL),
    ];
    const answer = events.reduce(takeEvent, NOTHING);
    assert.deepEqual(answer, { ...NOTHING, said: { id: 1, content: "add milk" }, text: "Added it.", calls: [CALL] });
    assert.equal(takeEvent(answer, event("assistant", { id: 2 })).message.id, 2);
    assert.equal(takeEvent(answer, event("error", { code: "x" })).problem.code, "x");
    assert.equal(NOTHING.text, "");
});

test("what a tool call says is not said twice", () => {
    const text = "Added #12 \"milk\".\nAnything else?";
    assert.equal(textBesideCalls(text, [CALL], true), "Anything else?");
    assert.equal(textBesideCalls(text, [], true), text);
    assert.equal(textBesideCalls("Well.\nAdded #1", [CALL], false), "Well.");
    assert.equal(textBesideCalls("Well.\nAdded #1", [CALL], true), "Well.\nAdded #1");
});

test("a key is a UUID of its own", () => {
    assert.equal(newKey(new Uint8Array(16)), "00000000-0000-4000-8000-000000000000");
    assert.match(newKey(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.notEqual(newKey(), newKey());
});
