// Signing up, in and out.

import { send, token } from "./api.js";
import { byId } from "./dom.js";
import { text } from "./text.js";

let isNewcomer = false;

// `onSignedIn` is called once there is a token.
export function setUpAccounts(onSignedIn) {
    const form = byId("sign");
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        showError(null);
        byId("sign-submit").disabled = true;
        try {
            await sign(form);
            onSignedIn();
        } catch (problem) {
            showError(problem.message);
        }
        byId("sign-submit").disabled = false;
    });
    byId("sign-other").addEventListener("click", () => {
        isNewcomer = !isNewcomer;
        showForm();
    });
}

async function sign(form) {
    const { name, email, password } = form.elements;
    const credentials = { email: email.value.trim(), password: password.value };
    if (isNewcomer && name.value.trim() !== "") {
        credentials.name = name.value.trim();
    }
    const { data } = await send("POST", isNewcomer ? "/auth/sign-up" : "/auth/sign-in", credentials);
    token.set(data.token);
    form.reset();
    isNewcomer = false;
}

export async function signOut() {
    try {
        await send("POST", "/auth/sign-out");
    } catch (problem) {
        // The session was over already, as was wanted.
        if (problem.status !== 401) {
            throw problem;
        }
    }
    token.forget();
}

// The message says why somebody must sign in again.
export function showForm(message = null) {
    const { email, name, password } = byId("sign").elements;
    byId("sign").hidden = false;
    byId("sign-heading").textContent = byId("sign-submit").textContent = text(isNewcomer ? "sign_up" : "sign_in");
    byId("sign-other").textContent = text(isNewcomer ? "have_account" : "make_account");
    byId("name-field").hidden = !isNewcomer;
    byId("password-hint").hidden = !isNewcomer;
    password.minLength = isNewcomer ? 8 : 1;
    password.autocomplete = isNewcomer ? "new-password" : "current-password";
    showError(message);
    (isNewcomer ? name : email).focus();
}

function showError(message) {
    byId("sign-error").textContent = message ?? "";
    byId("sign-error").hidden = message === null;
}
