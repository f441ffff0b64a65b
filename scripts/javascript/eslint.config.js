/** Lint rules for the page's modules: ESLint's recommended ones, those that matter beside tsc, and the bounds of the house. */

import js from "@eslint/js";

const HTML_SINKS = ["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"];

export default [
  { ignores: ["**/vendor/**"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off", // tsc knows all names
      "array-callback-return": "error",
      "consistent-return": "error",
      "eqeqeq": "error",
      "no-alert": "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": ["error", { props: false }],
      "no-promise-executor-return": "error",
      "no-restricted-properties": ["error", ...HTML_SINKS.map((property) => ({ property, message: "A text must not become HTML." }))],
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-template-curly-in-string": "error",
      "no-throw-literal": "error",
      "no-unassigned-vars": "error",
      "no-unmodified-loop-condition": "error",
      "no-unreachable-loop": "error",
      "no-useless-assignment": "error",
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "preserve-caught-error": "error",
      "prefer-promise-reject-errors": "error",
      "require-await": "error",
      "max-depth": ["error", 3],
      "max-lines": ["error", 300],
      "max-lines-per-function": ["error", 37],
      "max-params": ["error", 7],
    },
  },
];
