//! The OpenAPI document of `/api/v1`, from the messages' descriptors.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::parameters::{descriptor, words};
use super::{ERRORS, Endpoint};
use crate::history::ReportQuery;

/// The document for these paths.
pub(super) fn of(endpoints: &[&Endpoint]) -> Json {
    let mut schemas = BTreeMap::new();
    let mut paths = Map::new();
    for endpoint in endpoints {
        if let Some(answer) = descriptor(endpoint.answer) {
            add(&answer, &mut schemas);
        }
        paths.insert(endpoint.path.to_owned(), json!({ "get": operation(endpoint) }));
    }
    schemas.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Image Manager",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the manager reports. To make it act, use the gRPC control service on the same port.",
        },
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Json {
    let fields =
        descriptor(endpoint.request).into_iter().flat_map(|request| request.fields().collect::<Vec<_>>());
    let parameters: Vec<Json> = fields.map(|field| parameter(endpoint, &field)).collect();
    let answer = |description: &str, schema: &str| {
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        json!({ "description": description, "content": { "application/json": { "schema": schema } } })
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answer("The answer", endpoint.answer));
    // These come from before the interface, in plain text.
    responses.insert("401".to_owned(), json!({ "description": "No token was sent, or a wrong one" }));
    responses.insert("403".to_owned(), json!({ "description": "The token's role does not allow it" }));
    for error in &ERRORS {
        let mut described = answer(error.meaning, "Error");
        if error.http == StatusCode::TOO_MANY_REQUESTS
            && let Some(content) = described.pointer_mut("/content").and_then(Json::as_object_mut)
        {
            content.insert("text/plain".to_owned(), json!({ "schema": { "type": "string" } }));
        }
        responses.insert(error.http.as_str().to_owned(), described);
    }
    json!({
        "operationId": endpoint.request.trim_end_matches("Request"),
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    })
}

fn parameter(endpoint: &Endpoint, field: &FieldDescriptor) -> Json {
    let in_path = endpoint.in_path == Some(field.name());
    let required = endpoint.required.contains(&field.name());
    json!({
        "name": field.name(),
        "in": if in_path { "path" } else { "query" },
        "required": required,
        "schema": match field.kind() {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Uint32 if field.name() == "page_size" => {
                json!({ "type": "integer", "minimum": 0, "maximum": endpoint.page })
            }
            Kind::Uint32 if field.name() == "points" => {
                json!({ "type": "integer", "minimum": 0, "maximum": ReportQuery::MOST_POINTS })
            }
            Kind::Uint32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Enum(words_of) => {
                json!({ "type": "string", "enum": words(&words_of).into_iter().map(|(word, _)| word).collect::<Vec<_>>() })
            }
            // A time, as `when` reads it.
            Kind::Message(_) => json!({
                "description": "an age such as 7d, a date such as 2026-11-01 (UTC), or an RFC 3339 time",
                "anyOf": [
                    { "type": "string", "pattern": "^[0-9]{1,6}(s|m|h|d|w)$" },
                    { "type": "string", "format": "date" },
                    { "type": "string", "format": "date-time" },
                ],
            }),
            _ if required => json!({ "type": "string", "minLength": 1 }),
            _ => json!({ "type": "string" }),
        },
    })
}

fn error() -> Json {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
            },
        },
    })
}

/// Adds a message and those in it.
fn add(message: &MessageDescriptor, schemas: &mut BTreeMap<String, Json>) {
    if schemas.contains_key(message.name()) {
        return;
    }
    // Before its fields: a message may be in itself.
    schemas.insert(message.name().to_owned(), Json::Null);
    let mut properties = Map::new();
    for field in message.fields() {
        if let Kind::Message(inner) = field.kind()
            && !inner.full_name().starts_with("google.protobuf.")
        {
            add(&inner, schemas);
        }
        properties.insert(field.name().to_owned(), schema(&field));
    }
    let names: Vec<&String> = properties.keys().collect();
    let schema = json!({ "type": "object", "required": names, "properties": properties });
    schemas.insert(message.name().to_owned(), schema);
}

/// As the JSON of messages has it: every key is there, and null where there is nothing.
fn schema(field: &FieldDescriptor) -> Json {
    let one = match field.kind() {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => {
            json!({ "type": "integer", "minimum": 0 })
        }
        Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Sfixed32 | Kind::Sfixed64 => {
            json!({ "type": "integer" })
        }
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "null" }),
        Kind::Enum(words_of) => {
            let words = words(&words_of).into_iter().map(|(word, _)| Json::String(word));
            json!({ "enum": words.chain([Json::Null]).collect::<Vec<_>>() })
        }
        Kind::Message(inner) => match inner.full_name() {
            "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
            "google.protobuf.Duration" => json!({ "type": "string", "pattern": "^-?[0-9.e-]+s$" }),
            "google.protobuf.Struct" => json!({ "type": "object" }),
            _ => json!({ "$ref": format!("#/components/schemas/{}", inner.name()) }),
        },
    };
    if field.is_list() {
        return json!({ "type": "array", "items": one });
    }
    if field.supports_presence() { json!({ "anyOf": [one, { "type": "null" }] }) } else { one }
}

#[cfg(test)]
mod tests {
    use super::super::ENDPOINTS;
    use super::*;
    use crate::operator::json::shown;

    #[test]
    fn every_reference_leads_to_a_schema_that_is_there() {
        let document = of(&ENDPOINTS);
        let text = document.to_string();
        let references =
            text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut count = 0;
        for name in references {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
            count += 1;
        }
        assert!(count > 20, "{count}");
        assert_eq!(document["paths"].as_object().unwrap().len(), ENDPOINTS.len());
        let state = &document["paths"]["/api/v1/builds"]["get"]["parameters"][1]["schema"]["enum"];
        assert!(state.as_array().unwrap().contains(&"succeeded".into()), "{state}");
    }

    #[test]
    fn every_status_that_is_answered_is_in_the_document() {
        let document = of(&ENDPOINTS);
        for endpoint in ENDPOINTS {
            let responses = &document["paths"][endpoint.path]["get"]["responses"];
            for status in ["200", "400", "401", "403", "404", "409", "429", "500", "503"] {
                assert!(responses[status]["description"].is_string(), "{}: {status}", endpoint.path);
            }
            let error = &responses["500"]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(error, "#/components/schemas/Error");
        }
        let points = document["paths"]["/api/v1/report"]["get"]["parameters"].as_array().unwrap();
        let points = points.iter().find(|parameter| parameter["name"] == "points").unwrap();
        assert_eq!(points["schema"]["maximum"], ReportQuery::MOST_POINTS);
    }

    /// What is printed is what the document says: the keys of a build.
    #[test]
    fn an_answer_has_the_keys_of_its_schema() {
        let document = of(&ENDPOINTS);
        let build = serde_json::to_value(shown("Build", &image_manager_proto::v1::Build::default())).unwrap();
        let printed: Vec<&String> = build.as_object().unwrap().keys().collect();
        let described = document["components"]["schemas"]["Build"]["properties"].as_object().unwrap();
        assert_eq!(printed.len(), described.len());
        for key in printed {
            assert!(described.contains_key(key), "{key}");
        }
    }
}
