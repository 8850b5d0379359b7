//! `/docs`: the description of the API, for people as a page without script, for programs as OpenAPI.

use std::fmt::Write as _;

use axum::{
    Json, Router,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use serde_json::Value;
use utoipa::openapi::OpenApi;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("../assets/docs.css");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub fn router<S: Clone + Send + Sync + 'static>(openapi: &OpenApi) -> Router<S> {
    let description = serde_json::to_value(openapi).expect("a description is JSON");
    let page = page(&description);
    let page_headers = [(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY), NOSNIFF];
    Router::new()
        .route("/docs", get(async move || (page_headers, Html(page)).into_response()))
        .route("/docs/openapi.json", get(async move || Json(description)))
        .route("/docs/style.css", get(async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), NOSNIFF], STYLE)))
}

const NOSNIFF: (header::HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

fn page(description: &Value) -> String {
    let title = text(&description["info"]["title"]);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/docs/style.css\">\n</head>\n<body>\n<main>\n<h1>{title} <small>{}</small></h1>\n\
         <p>{} <a href=\"/docs/openapi.json\">OpenAPI</a></p>\n",
        text(&description["info"]["version"]),
        text(&description["info"]["description"]),
    );
    for (path, operations) in entries(&description["paths"]) {
        for method in METHODS {
            if let Some(operation) = operations.get(method) {
                write_operation(&mut page, method, path, operation);
            }
        }
    }
    page.push_str("<h2>Shapes</h2>\n");
    for (name, schema) in entries(&description["components"]["schemas"]) {
        write_schema(&mut page, name, schema);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn write_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    put(page, format_args!("<section>\n<h2><code>{} {}</code></h2>\n", method.to_uppercase(), escape(path)));
    put(page, format_args!("<p>{}. {}</p>\n", text(&operation["summary"]), text(&operation["description"])));
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !parameters.is_empty() || !body.is_null() {
        page.push_str("<dl>\n");
        for parameter in parameters {
            put(
                page,
                format_args!(
                    "<dt><code>{}</code> <small>{}, {}</small></dt><dd>{}</dd>\n",
                    text(&parameter["name"]),
                    text(&parameter["in"]),
                    kind(&parameter["schema"]),
                    text(&parameter["description"])
                ),
            );
        }
        if !body.is_null() {
            put(page, format_args!("<dt>body <small>JSON</small></dt><dd>{}</dd>\n", kind(body)));
        }
        page.push_str("</dl>\n");
    }
    page.push_str("<ul>\n");
    for (status, answer) in entries(&operation["responses"]) {
        // A file comes as one of several; the first says what it is.
        let schema = entries(&answer["content"]).next().map_or(&Value::Null, |(_, content)| &content["schema"]);
        let shape = if schema.is_null() { String::new() } else { format!(": {}", kind(schema)) };
        put(
            page,
            format_args!("<li><strong>{}</strong> {}{shape}</li>\n", escape(status), text(&answer["description"])),
        );
    }
    page.push_str("</ul>\n</section>\n");
}

fn write_schema(page: &mut String, name: &str, schema: &Value) {
    let name = escape(name);
    put(page, format_args!("<section>\n<h3 id=\"{name}\">{name}</h3>\n<p>{}</p>\n", text(&schema["description"])));
    let choices = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    if schema["properties"].is_object() {
        write_fields(page, schema);
    } else if choices.iter().all(|choice| choice["properties"].is_object()) && !choices.is_empty() {
        for (number, choice) in choices.iter().enumerate() {
            let or = if number == 0 { "" } else { "or: " };
            put(page, format_args!("<p>{or}{}</p>\n", text(&choice["description"])));
            write_fields(page, choice);
        }
    } else {
        put(page, format_args!("<p>{}</p>\n", kind(schema)));
    }
    page.push_str("</section>\n");
}

fn write_fields(page: &mut String, schema: &Value) {
    page.push_str("<dl>\n");
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (field, schema) in entries(&schema["properties"]) {
        let need = if required.iter().any(|name| name == field) { "" } else { ", may be left out" };
        put(
            page,
            format_args!(
                "<dt><code>{}</code> <small>{}{need}</small></dt><dd>{}</dd>\n",
                escape(field),
                kind(schema),
                text(&schema["description"])
            ),
        );
    }
    page.push_str("</dl>\n");
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or(reference));
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(text).collect::<Vec<_>>().join(" or ");
    }
    if schema["type"] == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    let mut words = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        kind => text(kind),
    };
    if let Some(format) = schema["format"].as_str() {
        put(&mut words, format_args!(" ({})", escape(format)));
    }
    words
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what).expect("a string takes everything");
}
