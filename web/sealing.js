// Sealing secrets in the browser: nobody between it and the session's sandbox can read them.
//
// The same as client/headstart_client/sealing.py.

import { subjectOf } from "./token.js";

const LEAST_BYTES = 8; // the API's own limit, which only a sandbox can see to

const bytes = (text) => new TextEncoder().encode(text);
const base64 = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

export const tooShort = (value) => bytes(value).length < LEAST_BYTES;

// `encryptedSecrets` of names and values, for the user of a token alone; `key` is what GET /encryption-key answers.
export async function seal(secrets, key, token) {
  const { subtle } = globalThis.crypto;
  if (!subtle) throw new Error("Secrets can be sealed only where this page came by https or from this machine: browsers have no cryptography elsewhere");
  if (key.algorithm !== "RSA-OAEP-256") throw new Error("The API's key for secrets is of a kind that this page can't use");
  const subject = subjectOf(token);
  if (subject === null) throw new Error("The token does not say whose it is, so nothing was sealed");
  const open = await subtle.importKey("spki", fromBase64(key.publicKey), { name: "RSA-OAEP", hash: "SHA-256" }, false, ["encrypt"]);
  const content = await subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt"]);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const text = bytes(JSON.stringify(secrets));
  const sealed = await subtle.encrypt({ name: "AES-GCM", iv, additionalData: bytes(subject) }, content, text);
  const wrapped = await subtle.encrypt({ name: "RSA-OAEP" }, open, await subtle.exportKey("raw", content));
  const envelope = { keyId: key.keyId, enc: "A256GCM", key: base64(wrapped), iv: base64(iv), ciphertext: base64(sealed) };
  return { names: Object.keys(secrets), envelope };
}
