"use strict";

// Loaded before anything is drawn, so that no page flashes up in the other colours. `settings.js` writes what is read here.
try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") {
        document.documentElement.dataset.theme = theme;
    }
} catch {
    // Storage is closed to this page: then it is as the system is.
}
