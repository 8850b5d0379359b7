// The changes of the tasks as they happen. A browser opens only six connections to a host over HTTP/1.1, and each tab that
// watched by itself would take one for good, so one tab watches for all where the browser can agree on which.

import { open } from "./api.js";
import { wait } from "./dom.js";
import { readEvents } from "./sse.js";

const WAIT_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

// Calls `onChange` with { type: "created" | "updated" | "deleted" | "reload", data }, and with { type: "away" } or { type: "back" }
// as the connection goes and comes. Returns what ends it. `user` keeps the tabs of one user apart from those of another.
export function watchTasks(user, onChange) {
    const name = `tasks of ${user}`;
    const channel = new BroadcastChannel(name);
    const ending = new AbortController();
    const tell = (change) => {
        onChange(change);
        channel.postMessage(change);
    };
    channel.addEventListener("message", (event) => onChange(event.data));
    if (navigator.locks) {
        // Whoever has the lock watches; when its tab closes, the next one gets it.
        navigator.locks.request(name, { signal: ending.signal }, () => follow(tell, ending.signal)).catch(ignoreAbort);
    } else {
        followWhileVisible(onChange, ending.signal);
    }
    return () => {
        ending.abort();
        channel.close();
    };
}

// Without locks (the page comes over plain http from another machine) each tab watches while it is looked at.
async function followWhileVisible(onChange, signal) {
    while (!signal.aborted) {
        const hidden = new AbortController();
        const hide = () => document.hidden && hidden.abort();
        document.addEventListener("visibilitychange", hide);
        if (!document.hidden) {
            await follow(onChange, AbortSignal.any([signal, hidden.signal]));
        }
        document.removeEventListener("visibilitychange", hide);
        if (!signal.aborted) {
            await new Promise((resolve) => {
                document.addEventListener("visibilitychange", resolve, { once: true });
                signal.addEventListener("abort", resolve, { once: true });
            });
        }
    }
}

// Goes on until the signal, or until nobody is signed in any more.
async function follow(tell, signal) {
    let lastId = "";
    let failures = 0;
    let isAway = false;
    while (!signal.aborted) {
        try {
            const headers = { accept: "text/event-stream", ...(lastId === "" ? {} : { "last-event-id": lastId }) };
            const response = await open("GET", "/tasks/events", { headers, signal });
            failures = 0;
            if (isAway) {
                tell({ type: "back" });
            }
            isAway = false;
            for await (const { type, data, id } of readEvents(response)) {
                lastId = id;
                if (data !== null) {
                    tell({ type, data: JSON.parse(data) });
                }
            }
        } catch (problem) {
            if (signal.aborted || problem.status === 401) {
                return;
            }
            // A stream that breaks off is opened again at once; it is when that fails that the server is away.
            if (failures > 0 && !isAway) {
                isAway = true;
                tell({ type: "away" });
            }
        }
        failures += 1;
        await Promise.race([wait(WAIT_MS[Math.min(failures, WAIT_MS.length) - 1]), untilOnline(), aborted(signal)]);
    }
}

const untilOnline = () => new Promise((resolve) => addEventListener("online", resolve, { once: true }));
const aborted = (signal) => new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));

function ignoreAbort(error) {
    if (error.name !== "AbortError") {
        throw error;
    }
}
