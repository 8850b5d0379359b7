// Which tasks are shown, in which order. No I/O.

export const DEFAULT = { show: "open", tag: null, q: "", sort: "position" };

const SHOWN = { open: { completed: "false" }, done: { completed: "true" }, overdue: { overdue: "true" }, all: {} };

// The query of GET /api/tasks, from its beginning or from where a cursor leads.
export function queryOf(view, limit, cursor = null) {
    const query = new URLSearchParams({ ...SHOWN[view.show], sort: view.sort, limit });
    if (cursor !== null) {
        query.set("cursor", cursor);
    }
    if (view.tag !== null) {
        query.set("tag", view.tag);
    }
    if (view.q.trim() !== "") {
        query.set("q", view.q.trim());
    }
    return query;
}

// The key of what is said where nothing is found.
export function emptyKey(view) {
    return view.tag !== null || view.q.trim() !== "" ? "empty_search" : `empty_${view.show}`;
}

// The ids in their new order; `destination` is as POST /api/tasks/ID/move takes it.
export function reorder(ids, id, { before, after, to }) {
    const others = ids.filter((other) => other !== id);
    let place = to === "first" ? 0 : others.length;
    if (before !== undefined) {
        place = others.indexOf(before);
    } else if (after !== undefined) {
        place = others.indexOf(after) + 1;
    }
    return others.toSpliced(place, 0, id);
}

// Where a key on a task's handle moves it; null where it can't go further, or another key was pressed.
export function destinationOf(key, ids, id) {
    const place = ids.indexOf(id);
    const isFirst = place === 0;
    const isLast = place === ids.length - 1;
    switch (key) {
        case "ArrowUp":
            return isFirst ? null : { before: ids[place - 1] };
        case "ArrowDown":
            return isLast ? null : { after: ids[place + 1] };
        case "Home":
            return isFirst ? null : { before: ids[0] };
        case "End":
            return isLast ? null : { after: ids.at(-1) };
        default:
            return null;
    }
}
