// What is wrong with a form's fields, said at each of them.

import { element } from "./dom.js";

// `wrong` has a sentence by the name of a field; the first of them gets the focus. What was said before goes.
export function tellFields(form, wrong, { focus = true } = {}) {
  for (const said of [...form.querySelectorAll(".wrong")]) said.remove();
  for (const field of [...form.querySelectorAll("[aria-invalid]")]) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  const [first] = Object.entries(wrong).map(([name, why]) => tellField(form.elements[name], `wrong-${form.id}-${name}`, why));
  // A group of fields takes no focus itself.
  if (focus && first) (first.querySelector("input, button") ?? first).focus();
}

function tellField(field, id, why) {
  const said = element("small", "wrong", why);
  said.id = id;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", said.id);
  field.after(said);
  for (let fold = field.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  return field;
}
