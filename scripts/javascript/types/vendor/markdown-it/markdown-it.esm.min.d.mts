export { default, type StateBlock, type StateInline, type Token } from "markdown-it";
