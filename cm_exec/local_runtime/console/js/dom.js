// Building elements without a framework.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An element: `h("button.primary", {type: "button", onclick}, "Call")`. Members that are null or false are left out. */
export function h(spec, attributes, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for SVG. */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set a text only where it is another: what is selected stays selected. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A list of tabs: one is in the tab order, arrows go between them. `tabs` are [key, label] pairs. */
export function tabList(container, tabs, chosen, choose) {
  const have = [...container.children].map((tab) => tab.dataset.key).join();
  if (have !== tabs.map(([key]) => key).join()) {
    container.replaceChildren(
      ...tabs.map(([key]) =>
        h("button", { type: "button", role: "tab", id: container.dataset.prefix + key, "data-key": key,
                      "aria-controls": container.dataset.panels ? container.dataset.panels + key : container.dataset.panel }),
      ),
    );
    container.onclick = (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) choose(tab.dataset.key);
    };
    container.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const all = [...container.children];
      const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
      next.focus();
      choose(next.dataset.key);
      event.preventDefault();
    };
  }
  tabs.forEach(([key, label], index) => {
    const tab = container.children[index];
    setText(tab, label);
    tab.setAttribute("aria-selected", key === chosen);
    tab.tabIndex = key === chosen ? 0 : -1;
  });
}

/** At most one call in `pause` milliseconds, the last one always. */
export function throttled(work, pause) {
  let timer = null;
  let again = false;
  return function call() {
    if (timer !== null) {
      again = true;
      return;
    }
    work();
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        call();
      }
    }, pause);
  };
}

export function copyButton(label, text) {
  return h("button.quiet", { type: "button", onclick: async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard.writeText(typeof text === "function" ? await text() : text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1200);
  } }, label);
}
