// Language, colours, and what belongs to an account: its sessions, its password, its end.

import { get, send, session, token } from "./api.js";
import { signOut } from "./accounts.js";
import { momentText, timeZone } from "./dates.js";
import { byId, element } from "./dom.js";
import { confirm, notify, notifyProblem } from "./notice.js";
import { changeLanguage, language, LANGUAGES, text } from "./text.js";

const THEME = "theme";

// `user` is null where there are no accounts, or nobody is signed in.
export function setUpSettings(currentUser) {
    const dialog = byId("settings-dialog");
    byId("open-settings").addEventListener("click", () => {
        const user = currentUser();
        byId("account").hidden = user === null;
        if (user !== null) {
            byId("who").textContent = user.name ? `${user.name} (${user.email})` : user.email;
            showSessions();
        }
        dialog.showModal();
    });

    const choices = Object.entries(LANGUAGES).map(([value, name]) => element("option", { value, lang: value }, name));
    byId("language").append(...choices);
    byId("language").value = language;
    byId("language").addEventListener("change", (event) => changeLanguage(event.target.value));

    byId("theme").value = localStorage.getItem(THEME) ?? "system";
    byId("theme").addEventListener("change", (event) => changeTheme(event.target.value));

    byId("sign-out").addEventListener("click", () => attempt(async () => {
        await signOut();
        leave();
    }));
    byId("end-sessions").addEventListener("click", () => attempt(async () => {
        await send("DELETE", "/auth/sessions");
        notify(text("sessions_ended"));
        await showSessions();
        byId("settings-heading").focus();
    }));
    byId("change-password").addEventListener("submit", (event) => {
        event.preventDefault();
        changePassword(event.target);
    });
    byId("delete-account").addEventListener("click", () => attempt(async () => {
        if (await confirm(text("delete_account_question"), text("delete_account"))) {
            await send("DELETE", "/auth/user");
            token.forget();
            leave();
        }
    }));
}

function changeTheme(theme) {
    if (theme === "system") {
        localStorage.removeItem(THEME);
        delete document.documentElement.dataset.theme;
    } else {
        localStorage.setItem(THEME, theme);
        document.documentElement.dataset.theme = theme;
    }
}

async function showSessions() {
    const list = byId("sessions");
    try {
        const sessions = await get("/auth/sessions");
        list.replaceChildren(...sessions.map(sessionRow));
        byId("end-sessions").hidden = sessions.length < 2;
    } catch (problem) {
        list.replaceChildren(element("li", { class: "hint" }, problem.message));
    }
}

function sessionRow({ id, last_used_at: usedAt, client, current }) {
    const when = momentText(usedAt, { language, now: new Date(), zone: timeZone() });
    const end = () => attempt(async () => {
        await send("DELETE", `/auth/sessions/${id}`);
        await showSessions();
    });
    return element(
        "li",
        {},
        element("span", {}, nameOf(client), element("small", {}, current ? text("this_session") : text("last_used", { when }))),
        current ? null : element("button", { type: "button", class: "quiet", onclick: end }, text("end_session")),
    );
}

// A User-Agent in words, as far as a person would know it.
function nameOf(client) {
    const known = (names) => names.find(([mark]) => client?.includes(mark))?.[1];
    const browser = known([["Edg/", "Edge"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]]);
    const system = known([["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Mac OS", "macOS"], ["Windows", "Windows"], ["Linux", "Linux"]]);
    return [browser, system].filter(Boolean).join(", ") || client?.slice(0, 40) || text("unknown_client");
}

async function changePassword(form) {
    const error = form.querySelector(".error");
    error.hidden = true;
    try {
        const { current, next } = form.elements;
        await send("POST", "/auth/password", { current_password: current.value, new_password: next.value });
        form.reset();
        notify(text("password_changed"));
        await showSessions();
    } catch (problem) {
        error.textContent = problem.message;
        error.hidden = false;
    }
}

function leave() {
    byId("settings-dialog").close();
    session.dispatchEvent(new CustomEvent("over"));
}

async function attempt(action) {
    try {
        await action();
    } catch (problem) {
        notifyProblem(problem);
    }
}
