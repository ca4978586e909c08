// Renders /openapi.json. No dependency, no network but this origin; everything is set as text, never as HTML.
"use strict";

const words = {
  zh: { body: "请求体", query: "查询参数", answers: "响应", required: "必填", bearer: "需要 Bearer 令牌",
    failed: "无法读取 /openapi.json", other: "English", schema: "数据结构" },
  en: { body: "Request body", query: "Query", answers: "Answers", required: "required", bearer: "Needs a Bearer token",
    failed: "/openapi.json cannot be read", other: "中文", schema: "Schemas" },
};
let language = (navigator.language || "zh").toLowerCase().startsWith("zh") ? "zh" : "en";
let description = null;

// Descriptions are "English / 中文"; the last separator counts, English may hold one.
function pick(text) {
  const at = (text || "").lastIndexOf(" / ");
  if (at < 0) return text || "";
  return language === "en" ? text.slice(0, at) : text.slice(at + 3);
}

function element(name, content, className) {
  const node = document.createElement(name);
  if (className) node.className = className;
  for (const part of [].concat(content === undefined ? [] : content)) node.append(part);
  return node;
}

function schemaName(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : "";
}

function typeOf(schema) {
  if (schema.$ref) return schemaName(schema);
  if (schema.type === "array") return typeOf(schema.items) + "[]";
  return schema.type || "";
}

function properties(schema) {
  const rows = [];
  const required = schema.required || [];
  for (const [name, property] of Object.entries(schema.properties || {})) {
    const mark = required.includes(name) ? [" ", element("span", words[language].required, "required")] : [];
    rows.push(element("tr", [
      element("td", [element("code", name), ...mark]),
      element("td", typeOf(property)),
      element("td", pick(property.description)),
    ]));
    if (property.type === "object" && property.properties) {
      rows.push(element("tr", element("td", [])), ...properties(property));
    }
  }
  return rows;
}

function table(rows) {
  return element("table", element("tbody", rows));
}

function operation(method, path, op) {
  const said = words[language];
  const inside = element("div");
  if (op.security) inside.append(element("p", said.bearer));
  if (op.parameters) {
    inside.append(element("h4", said.query), table(op.parameters.map((parameter) => element("tr", [
      element("td", element("code", parameter.name)),
      element("td", pick(parameter.description)),
    ]))));
  }
  if (op.requestBody) {
    const content = op.requestBody.content["application/json"];
    const schema = description.components.schemas[schemaName(content.schema)];
    inside.append(element("h4", said.body), table(properties(schema)));
    inside.append(element("pre", JSON.stringify(content.example, null, 2)));
  }
  inside.append(element("h4", said.answers), table(Object.entries(op.responses).flatMap(([status, response]) => {
    const content = Object.values(response.content || {})[0] || {};
    const examples = Object.entries(content.examples || {});
    const head = element("tr", [
      element("td", status),
      element("td", schemaName(content.schema)),
      element("td", examples.length ? "" : pick(response.description)),
    ]);
    return [head, ...examples.map(([reason, example]) => element("tr", [
      element("td", ""), element("td", element("code", reason)), element("td", pick(example.summary)),
    ]))];
  })));
  return element("details", [
    element("summary", [
      element("span", method.toUpperCase(), "method"), element("code", path), element("span", pick(op.summary)),
    ]),
    inside,
  ]);
}

function render() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.getElementById("language").textContent = words[language].other;
  const main = document.getElementById("content");
  if (!description) {
    main.replaceChildren(element("p", words[language].failed));
    return;
  }
  const parts = [element("p", pick(description.info.summary)), element("p", pick(description.info.description))];
  for (const tag of description.tags) {
    parts.push(element("h2", pick(tag.description)));
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, op] of Object.entries(methods)) {
        if (method !== "head" && op.tags.includes(tag.name)) parts.push(operation(method, path, op));
      }
    }
  }
  parts.push(element("h2", words[language].schema));
  for (const [name, schema] of Object.entries(description.components.schemas)) {
    if (!schema.properties) continue;
    parts.push(element("details", [element("summary", element("code", name)), element("div", table(properties(schema)))]));
  }
  main.replaceChildren(...parts);
}

document.getElementById("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  render();
});

fetch("/openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(String(response.status)))))
  .then((document_) => { description = document_; })
  .catch(() => { description = null; })
  .finally(render);
