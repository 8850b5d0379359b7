// Server-sent events from a fetch, which can send a token and a body where the browser's own EventSource can't.

// Longer than any server here is silent: they say something every 15 s. What is silent for longer is lost.
const SILENCE_MS = 45_000;

// Takes text in whatever pieces it comes, and returns the events that are whole. `data` is null in one that only moves the
// id on. `id` is the latest, from whichever event.
export function createParser() {
    let rest = "";
    let isFirst = true;
    let id = "";
    let type = "";
    let data = [];

    const endEvent = () => {
        const event = { type: type || "message", data: data.length > 0 ? data.join("\n") : null, id };
        type = "";
        data = [];
        return event;
    };

    const takeLine = (line) => {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") {
            data.push(value);
        } else if (field === "event") {
            type = value;
        } else if (field === "id" && !value.includes("\0")) {
            id = value;
        }
    };

    return (piece) => {
        rest += isFirst ? piece.replace(/^\uFEFF/, "") : piece;
        isFirst &&= piece === "";
        // A return at the end may be the first half of a line's end.
        const held = rest.endsWith("\r") ? "\r" : "";
        const lines = rest.slice(0, rest.length - held.length).split(/\r\n|\n|\r/);
        rest = lines.pop() + held;
        const events = [];
        for (const line of lines) {
            if (line === "") {
                events.push(endEvent());
            } else {
                takeLine(line);
            }
        }
        return events;
    };
}

// The events of an answer, until it ends. Leaving the loop closes the connection.
export async function* readEvents(response, silenceMs = SILENCE_MS) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = createParser();
    try {
        for (;;) {
            const { done, value } = await within(silenceMs, reader.read());
            if (done) {
                return;
            }
            yield* parse(value);
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}

async function within(milliseconds, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new DOMException("silent for too long", "TimeoutError")), milliseconds);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
