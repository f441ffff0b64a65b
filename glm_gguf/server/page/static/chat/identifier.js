/** Identifiers of what the page makes. `crypto.randomUUID` wants a secure context, which a plain LAN address is not. */

/** Returns 128 random bits in hexadecimal. */
export function identifier() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
