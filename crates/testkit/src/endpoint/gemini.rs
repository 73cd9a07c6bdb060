//! The protocol of the generative language service: `POST …/models/M:generateContent` and `:streamGenerateContent`.

use serde_json::{Value, json};

use super::{
    ask::{self, Ask, Protocol, Say, Tool, Turn},
    http::event,
    script::Kind,
};

pub(super) fn read(path: &str, body: &Value) -> Option<Ask> {
    let (model, method) = path.rsplit('/').next()?.split_once(':')?;
    let stream = match method {
        "streamGenerateContent" => true,
        "generateContent" => false,
        _ => return None,
    };
    let turns = body["contents"].as_array().into_iter().flatten().map(|content| {
        let parts = &content["parts"];
        let answers =
            parts.as_array().is_some_and(|parts| parts.iter().any(|part| !part["functionResponse"].is_null()));
        match content["role"].as_str() {
            Some("user" | "function") if answers => Turn::ToolResult,
            None | Some("user") => Turn::User(ask::texts(parts)),
            _ => Turn::Model,
        }
    });
    let declared = body["tools"].as_array().into_iter().flatten();
    let declared = declared.filter_map(|tools| tools["functionDeclarations"].as_array()).flatten();
    let tools = declared.filter_map(|tool| {
        let schema = ["parametersJsonSchema", "parameters"].into_iter().map(|name| &tool[name]);
        Tool::function(&tool["name"], schema.into_iter().find(|schema| !schema.is_null()).unwrap_or(&Value::Null))
    });
    Some(Ask {
        protocol: Protocol::Gemini,
        model: model.into(),
        stream,
        system: ask::texts(&body["systemInstruction"]["parts"]),
        turns: turns.collect(),
        tools: tools.collect(),
    })
}

fn chunk(ask: &Ask, parts: &Value, last: bool) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if last {
        candidate["finishReason"] = "STOP".into();
    }
    json!({
        "candidates": [candidate], "modelVersion": ask.model,
        "usageMetadata": {
            "promptTokenCount": ask::TOKENS_IN, "candidatesTokenCount": ask::TOKENS_OUT,
            "cachedContentTokenCount": ask::TOKENS_CACHED, "totalTokenCount": ask::TOKENS_IN + ask::TOKENS_OUT
        }
    })
}

pub(super) fn whole(ask: &Ask, say: &Say) -> Value {
    match say {
        Say::Text(text) => chunk(ask, &json!([{"text": text}]), true),
        Say::Call { tool, arguments, .. } => {
            chunk(ask, &json!([{"functionCall": {"name": tool, "args": arguments}}]), true)
        }
    }
}

pub(super) fn stream(ask: &Ask, say: &Say) -> Vec<String> {
    let chunks = match say {
        Say::Text(text) => {
            let pieces = ask::pieces(text);
            let count = pieces.len();
            let text = |(n, piece): (usize, &str)| chunk(ask, &json!([{"text": piece}]), n + 1 == count);
            pieces.into_iter().enumerate().map(text).collect()
        }
        Say::Call { .. } => vec![whole(ask, say)],
    };
    chunks.iter().map(|data| event(None, data)).collect()
}

pub(super) fn error(status: u16, kind: Kind) -> Value {
    // This service says 400 for a bad key; the number in the body is what its programs look at.
    let (word, message) = match (kind, status) {
        (Kind::Window | Kind::Credit, _) => (
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota. Quota exceeded for metric: generate_requests_per_day",
        ),
        (Kind::Context, _) => (
            "INVALID_ARGUMENT",
            "The input token count (2000000) exceeds the maximum number of tokens allowed (1048575).",
        ),
        (_, 401) => ("UNAUTHENTICATED", "API key not valid. Please pass a valid API key."),
        (_, 403) => ("PERMISSION_DENIED", "The caller does not have permission"),
        (_, 404) => ("NOT_FOUND", "The model is not found."),
        (_, 429) => ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        (_, 503 | 529) => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        (_, 500..) => ("INTERNAL", "An internal error has occurred."),
        _ => ("INVALID_ARGUMENT", "This request is refused."),
    };
    json!({"error": {"code": status, "message": message, "status": word}})
}
