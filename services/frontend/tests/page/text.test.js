import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { chooseLanguage, format, LANGUAGES } from "../../assets/text.js";

const ASSETS = new URL("../../assets/", import.meta.url);
const texts = {};
for (const language of Object.keys(LANGUAGES)) {
    texts[language] = (await import(`../../assets/text-${language}.js`)).default;
}

// The names of what is put in, in each form of a text.
const holes = (text) => Object.values(typeof text === "string" ? { text } : text).map((form) => [...new Set(form.match(/\{\w+\}/g))].sort().join());

test("every language has every text, with the same put in", () => {
    const keys = Object.keys(texts.en);
    assert.deepEqual(keys, [...keys].sort());
    for (const [language, own] of Object.entries(texts)) {
        assert.deepEqual(Object.keys(own), keys, language);
        for (const key of keys) {
            assert.deepEqual([...new Set(holes(own[key]))], [...new Set(holes(texts.en[key]))], `${language}: ${key}`);
            assert.ok(Object.values(typeof own[key] === "string" ? [own[key]] : own[key]).every((form) => form.trim() !== ""), key);
        }
        const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
        for (const [key, text] of Object.entries(own).filter(([, value]) => typeof value === "object")) {
            assert.deepEqual(Object.keys(text).sort(), [...categories].sort(), `${language}: ${key}`);
        }
    }
});

test("every text that is named is there, and every one that is there is named", () => {
    const files = readdirSync(ASSETS).filter((name) => /\.(js|html)$/.test(name) && !/^text-/.test(name));
    const source = files.map((name) => readFileSync(new URL(name, ASSETS), "utf8")).join("\n");
    const named = [...source.matchAll(/\btext\("(\w+)"|data-(?:text|label|placeholder)="(\w+)"/g)].map((found) => found[1] ?? found[2]);
    assert.ok(named.length > 100, `${named.length} texts are named`);
    assert.deepEqual(named.filter((key) => texts.en[key] === undefined), []);
    // Some names are put together: `bulk_${action}`.
    const begun = [...source.matchAll(/`(\w+_)\$\{/g)].map((found) => found[1]);
    const unused = Object.keys(texts.en).filter((key) => !source.includes(`"${key}"`) && !begun.some((part) => key.startsWith(part)));
    assert.deepEqual(unused, []);
});

test("values and counts are put in", () => {
    assert.equal(format({ a: "{x} and {x}, {y}" }, "en", "a", { x: 1 }), "1 and 1, {y}");
    assert.equal(format(texts.en, "en", "imported", { count: 1 }), "Imported 1 task.");
    assert.equal(format(texts.de, "de", "imported", { count: 2 }), "2 Aufgaben importiert.");
    assert.throws(() => format({}, "en", "none"), /no text is called none/);
});

test("a language is the user's choice, or the first that the browser knows", () => {
    assert.equal(chooseLanguage("de", ["en"]), "de");
    assert.equal(chooseLanguage(null, ["fr-FR", "de-AT", "en"]), "de");
    assert.equal(chooseLanguage("xx", []), "en");
});
