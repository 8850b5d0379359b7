// What was said and isn't answered yet, by conversation: for as long as the tab is there, so that loading the page anew
// neither loses nor doubles it.

const PENDING = "pending";

const read = () => JSON.parse(sessionStorage.getItem(PENDING) ?? "{}");
const write = (all) => sessionStorage.setItem(PENDING, JSON.stringify(all));

export const pending = {
    get: (id) => read()[id],
    keep: (id, { content, key }) => write({ ...read(), [id]: { content, key } }),
    forget: (id) => {
        const { [id]: _, ...others } = read();
        write(others);
    },
    clear: () => sessionStorage.removeItem(PENDING),
};
