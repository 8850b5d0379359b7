// An answer as it comes: from the events of its stream to what is shown of it. No I/O.

// How long the backend can take something back.
export const UNDO_MS = 15 * 60_000;

// `said` and `message` are what the backend has kept; `problem` is why there is no message.
export const NOTHING = { said: null, text: "", calls: [], message: null, problem: null };

export function takeEvent(answer, { type, data }) {
    if (data === null) {
        return answer;
    }
    const value = JSON.parse(data);
    switch (type) {
        case "user":
            return { ...answer, said: value };
        case "delta":
            return { ...answer, text: answer.text + value.text };
        case "tool_call":
            return { ...answer, calls: [...answer.calls, value] };
        case "assistant":
            return { ...answer, message: value };
        case "error":
            return { ...answer, problem: value };
        default:
            return answer;
    }
}

// What was said without the lines that a tool call says itself. The last line may still be coming, and then be one.
export function textBesideCalls(text, calls, isWhole) {
    const summaries = new Set(calls.map((call) => call.summary.trim()));
    const lines = text.split("\n");
    const kept = lines.filter((line, index) => {
        const trimmed = line.trim();
        const isComing = !isWhole && index === lines.length - 1 && trimmed !== "";
        return !summaries.has(trimmed) && !(isComing && [...summaries].some((summary) => summary.startsWith(trimmed)));
    });
    return kept.join("\n").trim();
}

// A version 4 UUID. crypto.randomUUID is only there where the page is served over https or from this machine.
export function newKey(bytes = crypto.getRandomValues(new Uint8Array(16))) {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
