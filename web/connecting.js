// The form that connects: where the API is, and a token for it.

import { Api } from "./api.js";
import { connect, connection, takeLink } from "./connection.js";
import { $, state, submitted } from "./page.js";

// Where the API is: from a link once, then from this tab's storage.
export function readAddress() {
  if (takeLink(location.hash, sessionStorage)) {
    // A token must not stay in the address, where it is seen, copied and remembered.
    history.replaceState(null, "", location.pathname + location.search);
  }
  const known = connection(sessionStorage);
  state.api = known && new Api(known.api, known.token);
}

// `connected` is called when there is a pair.
export function onConnect(connected) {
  $("connect").onsubmit = (event) =>
    submitted(event, async () => {
      const form = event.target.elements;
      connect(sessionStorage, form.api.value, form.token.value);
      connected();
    });
}
