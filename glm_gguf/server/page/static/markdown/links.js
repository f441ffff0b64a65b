/** Which addresses of a model's text may be links or images. */

const LINKED = new Set(["http:", "https:", "mailto:"]);
const INLINE_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/i;

/** Returns the address as one may follow it; null for all that is no absolute web or mail address. */
export function followable(address) {
  try {
    const url = new URL(address);
    return LINKED.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Says whether an image is in the text itself: any other would tell its host that it was looked at. */
export function isInlineImage(address) {
  return INLINE_IMAGE.test(address);
}
