import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import typescript from "typescript-eslint";

export default defineConfig(
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [js.configs.recommended, typescript.configs.strict, typescript.configs.stylistic],
    rules: {
      // Names come from reports: nothing may be read as markup.
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Names are text: use textContent." },
        { property: "outerHTML", message: "Names are text: use textContent." },
        { property: "insertAdjacentHTML", message: "Names are text: use append." },
      ],
      "no-restricted-globals": ["error", "fetch", "XMLHttpRequest", "WebSocket", "localStorage"],
      "max-lines": ["error", 260],
      eqeqeq: "error",
      // An index that was found is inside its array; a check of each would hide the arithmetic.
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
  { files: ["*.mjs"], extends: [js.configs.recommended], languageOptions: { globals: { Buffer: "readonly", process: "readonly", console: "readonly", URL: "readonly" } } },
);
