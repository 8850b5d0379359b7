import assert from "node:assert/strict";
import { test } from "node:test";

import { createParser, readEvents } from "../../assets/sse.js";

const STREAM = "\uFEFF: hello\r\nretry: 1000\r\nid: 7-1-9\r\n\r\nevent: delta\ndata: {\"text\": \"a\"}\n\ndata: one\rdata:two\r\rid\ndata\n\nevent: lost\ndata: x\n";
const EVENTS = [
    { type: "message", data: null, id: "7-1-9" },
    { type: "delta", data: "{\"text\": \"a\"}", id: "7-1-9" },
    { type: "message", data: "one\ntwo", id: "7-1-9" },
    { type: "message", data: "", id: "" },
];

test("events are whole, however the text is cut", () => {
    for (const size of [1, 2, 3, 7, STREAM.length]) {
        const parse = createParser();
        const events = [];
        for (let at = 0; at < STREAM.length; at += size) {
            events.push(...parse(STREAM.slice(at, at + size)));
        }
        assert.deepEqual(events, EVENTS, `pieces of ${size}`);
    }
});

test("what is silent for too long is lost", async () => {
    const silent = new Response(new ReadableStream({}));
    await assert.rejects(async () => {
        for await (const event of readEvents(silent, 1)) {
            assert.fail(`there is no event, but ${event.type}`);
        }
    }, { name: "TimeoutError" });
});
