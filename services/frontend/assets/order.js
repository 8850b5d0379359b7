// The order by hand: with a pointer on a task's handle, or with the arrow keys, Home and End on it.

import { destinationOf } from "./view.js";

// `move` is called with the id of a task and where it goes; `restore` draws the list as it was.
export function setUpOrder(list, { move, restore }) {
    let dragged = null;
    const rows = () => [...list.querySelectorAll("li.task")];
    const ids = () => rows().map(idOf);

    list.addEventListener("keydown", (event) => {
        const row = event.target.closest(".handle")?.closest("li.task");
        const destination = row ? destinationOf(event.key, ids(), idOf(row)) : null;
        if (destination !== null && dragged === null) {
            event.preventDefault();
            move(idOf(row), destination);
        }
    });

    list.addEventListener("pointerdown", (event) => {
        const row = event.target.closest(".handle")?.closest("li.task");
        if (!row || event.button !== 0) {
            return;
        }
        dragged = { row, before: ids().join() };
        row.classList.add("dragged");
        list.classList.add("dragging");
        // Of the list: the row itself moves, and would lose it.
        list.setPointerCapture(event.pointerId);
    });

    list.addEventListener("pointermove", (event) => {
        if (dragged === null) {
            return;
        }
        const isUnder = (box) => event.clientY >= box.top && event.clientY <= box.bottom;
        const over = rows().find((row) => row !== dragged.row && isUnder(row.getBoundingClientRect()));
        if (over === undefined) {
            return;
        }
        const box = over.getBoundingClientRect();
        const isAbove = event.clientY < box.top + box.height / 2;
        over[isAbove ? "before" : "after"](dragged.row);
        over.scrollIntoView({ block: "nearest" });
    });

    const end = (isDropped) => {
        if (dragged === null) {
            return;
        }
        const { row, before } = dragged;
        dragged = null;
        row.classList.remove("dragged");
        list.classList.remove("dragging");
        const [previous, next] = [row.previousElementSibling, row.nextElementSibling];
        if (!isDropped || ids().join() === before) {
            restore();
        } else {
            move(idOf(row), previous ? { after: idOf(previous) } : { before: idOf(next) });
        }
        row.querySelector(".handle")?.focus();
    };
    list.addEventListener("pointerup", () => end(true));
    list.addEventListener("pointercancel", () => end(false));
    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            end(false);
        }
    });
}

const idOf = (row) => Number(row.dataset.id);
