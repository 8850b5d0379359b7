// The few helpers with which elements are made. Text always goes in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

// element("button", { class: "quiet", onclick: save }, "Save"): `on…` is a listener, true an attribute without a value,
// and what is false, null or undefined is left out.
export function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (key.startsWith("on")) {
            made.addEventListener(key.slice(2), value);
        } else if (value === true) {
            made.setAttribute(key, "");
        } else if (value !== false && value !== null && value !== undefined) {
            made.setAttribute(key, value);
        }
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return made;
}

const SVG = "http://www.w3.org/2000/svg";

// One of the symbols at the top of index.html; it says nothing to a screen reader.
export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "glyph");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    return svg;
}

export function iconButton(name, label, attributes = {}) {
    return element("button", { type: "button", class: "icon", "aria-label": label, title: label, ...attributes }, icon(name));
}

// Calls once things have been quiet for a while.
export function debounce(milliseconds, call) {
    let timer;
    return (...values) => {
        clearTimeout(timer);
        timer = setTimeout(call, milliseconds, ...values);
    };
}

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
