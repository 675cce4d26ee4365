import hooks from "eslint-plugin-react-hooks";
import a11y from "eslint-plugin-jsx-a11y";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig([
  globalIgnores(["dist", "node_modules"]),
  {
    files: ["**/*.{ts,tsx}"],
    extends: [tseslint.configs.strictTypeChecked, hooks.configs.flat["recommended-latest"], a11y.flatConfigs.recommended],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "max-lines": ["error", 320],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    // The core decides; it never looks at the clock, the network or the page.
    files: ["src/core/**/*.ts"],
    rules: {
      "no-restricted-globals": ["error", "window", "document", "fetch", "WebSocket", "localStorage", "sessionStorage", "setTimeout", "setInterval", "crypto", "navigator"],
      "no-restricted-properties": ["error", { object: "Date", property: "now" }, { object: "Math", property: "random" }],
      "no-restricted-imports": ["error", { patterns: ["react*", "../shell/*", "../views/*", "@mantine/*", "@tanstack/*"] }],
    },
  },
]);
