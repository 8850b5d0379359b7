// The way to the backend: requests with the token, and failures as `Problem`s, whatever has failed.

import { text } from "./text.js";

const TIMEOUT_MS = 15_000;
const TOKEN = "token";

// What a request failed with. `status` is 0 where no answer came; `code` is the backend's own word for programs.
export class Problem extends Error {
    constructor(message, { status = 0, code = "", current = null, errors = [], retryAfterS = null } = {}) {
        super(message);
        Object.assign(this, { status, code, current, errors, retryAfterS });
    }

    // Whether it may well work in a moment: the server, its database or the way to it is away.
    get isAway() {
        return [0, 502, 503, 504].includes(this.status);
    }
}

// The token is kept for this origin, port included: a cookie would go to whatever else is served from the same host. No
// script but ours runs here that could read it.
export const token = {
    get: () => localStorage.getItem(TOKEN),
    set: (value) => localStorage.setItem(TOKEN, value),
    forget: () => localStorage.removeItem(TOKEN),
};

// Dispatches "over" when the backend no longer knows the session, with the detail "expired", and when another tab has signed
// in or out.
export const session = new EventTarget();
addEventListener("storage", (event) => {
    if (event.key === TOKEN) {
        session.dispatchEvent(new CustomEvent("over"));
    }
});

// The answer as soon as its head is there; a `Problem` unless it is a success.
export async function open(method, path, { body, headers = {}, signal } = {}) {
    const sent = token.get();
    const all = { ...headers };
    if (sent !== null) {
        all.authorization = `Bearer ${sent}`;
    }
    if (body !== undefined && !all["content-type"]) {
        all["content-type"] = "application/json";
    }
    const content = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    let response;
    try {
        response = await fetch(`/api${path}`, { method, headers: all, body: content, signal });
    } catch (error) {
        throw lost(error);
    }
    if (!response.ok) {
        const answer = await response.json().catch(() => ({}));
        // A wrong password at signing in is no end of a session.
        if (response.status === 401 && sent !== null && sent === token.get() && !path.startsWith("/auth/sign-")) {
            token.forget();
            session.dispatchEvent(new CustomEvent("over", { detail: "expired" }));
        }
        throw problemOf(answer, response.status, response.headers.get("retry-after"));
    }
    return response;
}

// What is answered, with the token that takes a write back.
export async function send(method, path, body, { headers, timeoutMs = TIMEOUT_MS } = {}) {
    const response = await open(method, path, { body, headers, signal: AbortSignal.timeout(timeoutMs) });
    const data = response.status === 204 ? null : await response.json().catch((error) => Promise.reject(lost(error)));
    return { data, undo: response.headers.get("undo-token"), next: response.headers.get("next-cursor") };
}

export const get = async (path) => (await send("GET", path)).data;

// A part of a list, and the cursor of the next one, or null where this is the last.
export async function getPage(path) {
    const { data, next } = await send("GET", path);
    return { rows: data, next };
}

// For a write of a version that must still be the latest.
export const ifMatch = (version) => ({ headers: { "if-match": `"${version}"` } });

export function problemOf(answer, status, retryAfter = null) {
    const details = { status, ...answer, retryAfterS: Number.parseInt(retryAfter, 10) || null };
    if (answer.code === "backend_unreachable" || answer.code === "backend_timeout" || status === 503) {
        return new Problem(text("server_away"), details);
    }
    if (answer.code === "conversation_busy") {
        return new Problem(text("conversation_busy"), details);
    }
    if (status === 429) {
        return new Problem(text("too_many", { count: details.retryAfterS ?? 5 }), details);
    }
    return new Problem(answer.detail ? sentence(answer.detail) : text("server_failed", { status }), details);
}

// A request that got no answer, or whose answer broke off.
function lost(error) {
    return new Problem(text(error?.name === "TimeoutError" ? "server_slow" : "server_away"));
}

// The backend's details are parts of sentences.
function sentence(detail) {
    const begun = detail[0].toUpperCase() + detail.slice(1);
    return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
