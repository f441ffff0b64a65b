/** Which addresses in a model's text may be links or images. */

const LINKED = new Set(["http:", "https:", "mailto:"]);
const INLINE_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;

/**
 * Returns the address as a link may have it; null where it is no absolute web or mail address.
 * @param {string} address
 */
export function followable(address) {
  try {
    const url = new URL(address);
    return LINKED.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * Says whether the text itself contains the image: to load any other would tell its host who reads.
 * @param {string} address
 */
export function isInlineImage(address) {
  return INLINE_IMAGE.test(address);
}
