// What the page says, by language: the texts are data, in a file for each language.

export const LANGUAGES = { en: "English", de: "Deutsch" };

const STORED = "language";

// The language that was chosen, else the first of the browser's that there is, else English.
export function chooseLanguage(chosen, wanted) {
    const known = (name) => Object.hasOwn(LANGUAGES, name);
    if (chosen && known(chosen)) {
        return chosen;
    }
    return wanted.map((name) => name.toLowerCase().split("-")[0]).find(known) ?? "en";
}

// A text with its values put in. One that depends on a count has a text for each plural category of the language.
export function format(texts, language, key, values = {}) {
    let template = texts[key];
    if (template === undefined) {
        throw new Error(`no text is called ${key}`);
    }
    if (typeof template === "object") {
        const category = new Intl.PluralRules(language).select(values.count);
        template = template[category] ?? template.other;
    }
    return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

let texts = {};
export let language = "en";

export async function loadTexts() {
    language = chooseLanguage(localStorage.getItem(STORED), navigator.languages);
    texts = (await import(`./text-${language}.js`)).default;
    document.documentElement.lang = language;
    applyTexts(document);
}

export const text = (key, values) => format(texts, language, key, values);

// Everything on the page is in one language from its first word on, so another one begins with another load.
export function changeLanguage(name) {
    localStorage.setItem(STORED, name);
    location.reload();
}

// Fills in what index.html names: data-text is content, the others are attributes.
export function applyTexts(root) {
    for (const item of root.querySelectorAll("[data-text]")) {
        item.textContent = text(item.dataset.text);
    }
    for (const item of root.querySelectorAll("[data-label]")) {
        item.setAttribute("aria-label", text(item.dataset.label));
        if (item.matches("button, summary")) {
            item.title = text(item.dataset.label);
        }
    }
    for (const item of root.querySelectorAll("[data-placeholder]")) {
        item.placeholder = text(item.dataset.placeholder);
    }
}
