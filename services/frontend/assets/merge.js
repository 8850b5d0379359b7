// What a form holds of a task, what of it was changed, and what to do where somebody else was faster. No I/O.

export const FIELDS = ["title", "description", "due_on", "due_time", "priority", "tags"];

// A form has text where a task may have null, and tags with commas between.
export function valuesOf(task) {
    return {
        title: task.title ?? "",
        description: task.description ?? "",
        due_on: task.due_on ?? "",
        due_time: task.due_time ?? "",
        priority: task.priority ?? "medium",
        tags: (task.tags ?? []).join(", "),
    };
}

export function tagsOf(text) {
    const tags = text.split(",").map((tag) => tag.trim().replace(/^#/, "").toLowerCase());
    return [...new Set(tags.filter((tag) => tag !== ""))].sort();
}

// As two values of a field mean the same.
function meaning(field, value) {
    return field === "tags" ? tagsOf(value).join() : value.trim();
}

export function changedFields(before, after) {
    return FIELDS.filter((field) => meaning(field, before[field]) !== meaning(field, after[field]));
}

// The body of a request for these fields. Where a day or a time is meant, so is the zone it is meant in.
export function bodyOf(values, fields, timeZone) {
    const body = {};
    for (const field of fields) {
        const value = field === "tags" ? tagsOf(values.tags) : values[field].trim();
        body[field] = value === "" ? null : value;
    }
    if (body.due_on || body.due_time) {
        body.time_zone = timeZone;
    }
    // There is no time without a day.
    if (body.due_on === null) {
        body.due_time = null;
    }
    return body;
}

// `base` is what the form began with, `mine` what it holds, `theirs` what is there now. What only one side has changed is
// taken from that side; what both have changed differently stays as typed and is named.
export function merge(base, mine, theirs) {
    const values = { ...theirs };
    const conflicts = [];
    for (const field of changedFields(base, mine)) {
        values[field] = mine[field];
        const isTheirs = meaning(field, base[field]) !== meaning(field, theirs[field]);
        if (isTheirs && meaning(field, mine[field]) !== meaning(field, theirs[field])) {
            conflicts.push(field);
        }
    }
    return { values, conflicts };
}
