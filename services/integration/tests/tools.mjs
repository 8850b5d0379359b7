// Asks an MCP server with the protocol's own client: lists its tools, and calls each of them. Prints a line for each call.
// MCP_SDK is the folder whose node_modules has the client, MCP_URL the server, TOKEN the user's.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.MCP_SDK, "package.json"));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const client = new Client({ name: "test", version: "1" });
const headers = { authorization: `Bearer ${process.env.TOKEN}` };
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.MCP_URL), { requestInit: { headers } }));
// The client checks what a tool returns against the schema that the list has of it.
const { tools, nextCursor } = await client.listTools();
assert.equal(nextCursor, undefined);
const uncalled = new Set(tools.map((tool) => tool.name));

async function call(name, args) {
    const result = await client.callTool({ name, arguments: args });
    uncalled.delete(name);
    console.log(`${name} ${JSON.stringify(args)}: ${JSON.stringify(result)}`);
    return result;
}

async function done(name, args) {
    const result = await call(name, args);
    assert.ok(!result.isError, name);
    // What programs read is what models read.
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent, name);
    return result.structuredContent;
}

const titles = ({ tasks }) => tasks.map((task) => task.title);

const { id } = await done("add_task", { title: "milk", priority: "high", due_on: "2099-12-24", due_time: "17:00" });
const eggs = await done("add_task", { title: "eggs", tags: ["shop"] });
assert.deepEqual(titles(await done("list_tasks", { sort: "position" })), ["eggs", "milk"]);
assert.deepEqual(titles(await done("search_tasks", { query: "MIL" })), ["milk"]);
assert.equal((await done("get_task", { id })).due_time, "17:00");
const changed = await done("update_task", { id, title: "oat milk", clear: ["due_on"] });
assert.deepEqual([changed.title, changed.due_on, changed.due_time], ["oat milk", null, null]);
assert.equal((await done("complete_task", { id })).completed, true);
assert.equal((await done("reopen_task", { id })).completed, false);
await done("move_task", { id, before: eggs.id });
assert.deepEqual(titles(await done("list_tasks", { sort: "position" })), ["oat milk", "eggs"]);
const first = await done("list_tasks", { sort: "position", limit: 1 });
const rest = await done("list_tasks", { sort: "position", limit: 1, cursor: first.next_cursor });
assert.deepEqual([titles(first), titles(rest), rest.next_cursor], [["oat milk"], ["eggs"], null]);
const { undo_token } = await done("delete_task", { id });
assert.deepEqual(titles(await done("list_tasks", {})), ["eggs"]);
await done("undo_change", { undo_token });
assert.deepEqual(titles(await done("list_tasks", {})).sort(), ["eggs", "oat milk"]);

// A model reads why, and goes on.
const absent = await call("get_task", { id: 0 });
assert.ok(absent.isError && absent.content[0].text.includes("no such task"));
await assert.rejects(call("drop_table", {}), /drop_table|not found|unknown/i);

assert.deepEqual([...uncalled], []);
console.log(`tools: ${tools.map((tool) => tool.name).sort().join(" ")}`);
await client.close();
