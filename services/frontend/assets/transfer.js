// Tasks as a file: out, and in again.

import { open, send } from "./api.js";
import { byId, element } from "./dom.js";
import { notify, notifyProblem } from "./notice.js";
import { text } from "./text.js";

const TIMEOUT_MS = 60_000;

export function setUpTransfer(onImported) {
    const file = byId("import-file");
    byId("import-tasks").addEventListener("click", () => file.click());
    file.addEventListener("change", async () => {
        const [chosen] = file.files;
        if (chosen) {
            await importFile(chosen, onImported);
        }
        // Else the same file could not be chosen again, once it is mended.
        file.value = "";
    });
    for (const button of document.querySelectorAll("[data-format]")) {
        button.addEventListener("click", () => exportTasks(button.dataset.format));
    }
}

async function importFile(file, onImported) {
    const kind = /\.csv$/i.test(file.name) || file.type === "text/csv" ? "text/csv" : "application/json";
    try {
        const headers = { "content-type": kind };
        const { data, undo } = await send("POST", "/tasks/import", await file.text(), { headers, timeoutMs: TIMEOUT_MS });
        notify(text("imported", { count: data.ids.length }), { undo });
        await onImported();
    } catch (problem) {
        byId("import-text").textContent = problem.message;
        const mistakes = (problem.errors ?? []).map(({ place, message }) => element("li", {}, `${place}: ${message}`));
        byId("import-list").replaceChildren(...mistakes);
        byId("import-problems").showModal();
    }
}

// A link could not send the token.
async function exportTasks(format) {
    try {
        const response = await open("GET", `/tasks/export?format=${format}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
        const address = URL.createObjectURL(await response.blob());
        element("a", { href: address, download: `tasks.${format}` }).click();
        setTimeout(() => URL.revokeObjectURL(address), TIMEOUT_MS);
    } catch (problem) {
        notifyProblem(problem);
    }
}
