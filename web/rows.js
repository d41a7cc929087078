// Rows of a name and a value in a form, as many as a person adds.

import { element } from "./dom.js";

export class Rows {
  #node;
  #more;
  #secret;

  // `node` holds the rows; `add` is the button that adds one. Values of secrets are not shown.
  constructor(node, add, { secret = false } = {}) {
    this.#node = node;
    this.#more = add;
    this.#secret = secret;
    add.onclick = () => this.add().focus();
  }

  // Returns the field of the new row's name, or of its value where there is a name.
  add(name = "") {
    const [key, value, remove] = [element("input"), element("input"), element("button", "", "Remove")];
    key.value = name;
    key.placeholder = this.#secret ? "NPM_TOKEN" : "CI";
    key.ariaLabel = this.#secret ? "Name of the secret" : "Name of the variable";
    value.ariaLabel = this.#secret ? "Value of the secret" : "Value of the variable";
    value.type = this.#secret ? "password" : "text";
    for (const field of [key, value]) Object.assign(field, { autocomplete: "off", spellcheck: false });
    remove.type = "button";
    const row = element("div", "row", key, value, remove);
    remove.onclick = () => {
      const next = row.nextElementSibling?.querySelector("input") ?? this.#more;
      row.remove();
      // With the button it was on, it would be lost.
      next.focus();
    };
    this.#node.append(row);
    return name ? value : key;
  }

  // Rows of these names, without values, where nobody has filled in any.
  suggest(names) {
    if (this.#pairs.some(([, value]) => value)) return;
    this.clear();
    for (const name of names) this.add(name);
  }

  clear() {
    this.#node.replaceChildren();
  }

  get #pairs() {
    return [...this.#node.children].map(({ children: [key, value] }) => [key.value.trim(), value.value]);
  }

  // An object of all rows that have a name or a value, or why there is none.
  read() {
    const pairs = this.#pairs.filter(([name, value]) => name || value);
    const names = pairs.map(([name]) => name);
    if (names.includes("")) return { wrong: "A value here has no name." };
    const twice = names.find((name, at) => names.indexOf(name) !== at);
    if (twice) return { wrong: `${twice} is here twice.` };
    const odd = names.find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
    if (odd) return { wrong: `${odd} is no name of a variable: letters, digits and _, and no digit in front.` };
    const empty = this.#secret && pairs.find(([, value]) => !value);
    // What is suggested from the last time and not filled in is to be noticed, not sent.
    if (empty) return { wrong: `${empty[0]} has no value: fill it in, or remove it.` };
    return { pairs: Object.fromEntries(pairs) };
  }
}
