// What an answer warns of, in a line: what looks like a credential and was sent in the open.

export function warned(answer) {
  const places = (answer?.warnings ?? []).map(({ loc, msg }) => `${loc.join(".")} ${msg}`);
  return places.length ? `${places.join("; ")}.` : "";
}
