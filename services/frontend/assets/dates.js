// Days and times in the user's language and zone. No I/O: what time it is comes as an argument.

const DAY_MS = 86_400_000;

// A zone as the backend takes it: UTC, or an area and a place.
export function timeZone() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
    return zone.includes("/") ? zone : "UTC";
}

// YYYY-MM-DD
export function dayOf(now, zone) {
    const parts = new Intl.DateTimeFormat("en", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" });
    const part = Object.fromEntries(parts.formatToParts(now).map(({ type, value }) => [type, value]));
    return `${part.year}-${part.month}-${part.day}`;
}

export function isOverdue(task, now) {
    return !task.completed && task.due_at !== null && Date.parse(task.due_at) <= now.getTime();
}

// "today, 17:00" or "Fri, 4 Dec".
export function dueText(task, { language, now, zone }) {
    const day = Date.parse(`${task.due_on}T00:00:00Z`);
    const distance = Math.round((day - Date.parse(`${dayOf(now, zone)}T00:00:00Z`)) / DAY_MS);
    let text;
    if (Math.abs(distance) <= 1) {
        text = new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(distance, "day");
    } else {
        const year = task.due_on.slice(0, 4) === dayOf(now, zone).slice(0, 4) ? undefined : "numeric";
        const shown = { timeZone: "UTC", weekday: "short", day: "numeric", month: "short", year };
        text = new Intl.DateTimeFormat(language, shown).format(day);
    }
    if (task.due_time !== null) {
        const time = Date.parse(`${task.due_on}T${task.due_time}:00Z`);
        text += `, ${new Intl.DateTimeFormat(language, { timeZone: "UTC", timeStyle: "short" }).format(time)}`;
        // A time of another zone is not what the clock here says.
        text += task.time_zone === zone ? "" : ` (${task.time_zone})`;
    }
    return text;
}

// "14:05" of today, "28 Nov" of the year, else with the year.
export function momentText(moment, { language, now, zone }) {
    const then = new Date(moment);
    if (dayOf(then, zone) === dayOf(now, zone)) {
        return new Intl.DateTimeFormat(language, { timeZone: zone, timeStyle: "short" }).format(then);
    }
    const year = dayOf(then, zone).slice(0, 4) === dayOf(now, zone).slice(0, 4) ? undefined : "numeric";
    return new Intl.DateTimeFormat(language, { timeZone: zone, day: "numeric", month: "short", year }).format(then);
}
