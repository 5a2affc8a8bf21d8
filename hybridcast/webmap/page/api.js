"use strict";
// A form for each operation of openapi.json.

(async () => {
  const EXAMPLES = { lat: "60.17", lon: "24.94", polygon: "24.8,60.1;25.2,60.1;25.2,60.3" };
  const element = (kind, text = "") => Object.assign(document.createElement(kind), { textContent: text });
  const described = await (await fetch("openapi.json")).json();
  for (const [path, { get }] of Object.entries(described.paths)) {
    const form = element("form"), answer = element("pre"), address = element("code");
    answer.hidden = true;
    form.append(element("h2", `GET ${path}`), element("p", [get.summary, get.description].filter(Boolean).join(". ")));
    for (const { name, schema, description } of get.parameters ?? []) {
      const label = element("label", name), input = element("input");
      input.name = name;
      input.placeholder = EXAMPLES[name] ?? "";
      label.append(input, element("small", description ?? schema?.description ?? ""));
      form.append(label);
    }
    const button = element("button", "Ask");
    form.append(button, element("p"), address, answer);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const given = [...new FormData(form)].filter(([, value]) => value !== "");
      const url = `${path.slice(1)}${given.length ? "?" : ""}${new URLSearchParams(given)}`;
      address.textContent = new URL(url, location.href).href;
      const response = await fetch(url);
      answer.hidden = false;
      answer.textContent = `${response.status}\n${JSON.stringify(await response.json(), null, 1)}`;
    });
    document.getElementById("operations").append(form);
  }
})();
