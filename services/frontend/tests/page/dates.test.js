import assert from "node:assert/strict";
import { test } from "node:test";

import { dayOf, dueText, isOverdue, momentText } from "../../assets/dates.js";

// In Auckland it is the 29th already.
const NOW = new Date("2026-11-28T20:00:00Z");
const task = (due_on, due_time = null, time_zone = "Europe/Berlin") => ({ due_on, due_time, time_zone });
const due = (shown, language = "en", zone = "Europe/Berlin") => dueText(shown, { language, now: NOW, zone }).replace(/\s/gu, " ");

test("a day is the user's", () => {
    assert.equal(dayOf(NOW, "Europe/Berlin"), "2026-11-28");
    assert.equal(dayOf(NOW, "Pacific/Auckland"), "2026-11-29");
});

test("days that are near have words", () => {
    assert.equal(due(task("2026-11-28")), "today");
    assert.equal(due(task("2026-11-28"), "en", "Pacific/Auckland"), "yesterday");
    assert.equal(due(task("2026-11-29"), "de"), "morgen");
    assert.equal(due(task("2026-12-04")), "Fri, Dec 4");
    assert.match(due(task("2027-12-04"), "de"), /^Sa., 4. Dez. 2027$/);
});

test("a time is that of its zone", () => {
    assert.equal(due(task("2026-11-29", "17:00")), "tomorrow, 5:00 PM");
    assert.equal(due(task("2026-11-29", "17:00", "UTC"), "de"), "morgen, 17:00 (UTC)");
});

test("only what is open is overdue", () => {
    const late = { completed: false, due_at: "2026-11-28T19:59:59Z" };
    assert.ok(isOverdue(late, NOW));
    assert.ok(!isOverdue({ ...late, completed: true }, NOW));
    assert.ok(!isOverdue({ ...late, due_at: null }, NOW));
    assert.ok(!isOverdue({ ...late, due_at: "2026-11-28T20:00:01Z" }, NOW));
});

test("moments of today are times", () => {
    const options = { language: "de", now: NOW, zone: "UTC" };
    assert.equal(momentText("2026-11-28T08:05:00Z", options), "08:05");
    assert.equal(momentText("2026-11-27T08:05:00Z", options), "27. Nov.");
    assert.equal(momentText("2025-11-27T08:05:00Z", options), "27. Nov. 2025");
});
