//! The Chat Completions protocol: `POST /v1/chat/completions`.

use serde_json::{Value, json};

use super::{
    ask::{self, Ask, Protocol, Say, Tool, Turn},
    http::event,
    script::Kind,
};

pub(super) fn read(body: &Value) -> Ask {
    let messages = || body["messages"].as_array().into_iter().flatten();
    let turns = messages().filter_map(|message| match message["role"].as_str() {
        Some("user") => Some(Turn::User(ask::texts(&message["content"]))),
        Some("tool" | "function") => Some(Turn::ToolResult),
        Some("assistant") => Some(Turn::Model),
        _ => None,
    });
    let system = messages().filter(|message| matches!(message["role"].as_str(), Some("system" | "developer")));
    let tools = body["tools"].as_array().into_iter().flatten();
    Ask {
        protocol: Protocol::Chat,
        model: body["model"].as_str().unwrap_or_default().into(),
        stream: body["stream"] == true,
        system: system.map(|message| ask::texts(&message["content"])).collect::<Vec<_>>().join("\n"),
        turns: turns.collect(),
        tools: tools
            .filter_map(|tool| Tool::function(&tool["function"]["name"], &tool["function"]["parameters"]))
            .collect(),
    }
}

fn message(say: &Say) -> (Value, &'static str) {
    match say {
        Say::Text(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Say::Call { tool, arguments, .. } => {
            let call = json!({"index": 0, "id": ask::fresh("call"), "type": "function", "function": {"name": tool, "arguments": arguments.to_string()}});
            (json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
    }
}

fn usage() -> Value {
    json!({"prompt_tokens": ask::TOKENS_IN, "completion_tokens": ask::TOKENS_OUT, "total_tokens": ask::TOKENS_IN + ask::TOKENS_OUT, "prompt_tokens_details": {"cached_tokens": ask::TOKENS_CACHED}})
}

pub(super) fn whole(ask: &Ask, say: &Say) -> Value {
    let (message, finish) = message(say);
    json!({"id": ask::fresh("chatcmpl"), "object": "chat.completion", "created": 1_767_600_000, "model": ask.model, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage()})
}

pub(super) fn stream(ask: &Ask, say: &Say) -> Vec<String> {
    let id = ask::fresh("chatcmpl");
    let chunk = |delta: Value, finish: Value| json!({"id": id, "object": "chat.completion.chunk", "created": 1_767_600_000, "model": ask.model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let (message, finish) = message(say);
    let mut chunks = match say {
        Say::Text(text) => {
            let mut all = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
            all.extend(ask::pieces(text).into_iter().map(|piece| chunk(json!({"content": piece}), Value::Null)));
            all
        }
        Say::Call { .. } => vec![chunk(message, Value::Null)],
    };
    chunks.push(chunk(json!({}), finish.into()));
    let mut last = chunk(json!({}), Value::Null);
    last["choices"] = json!([]);
    last["usage"] = usage();
    chunks.push(last);
    let mut events: Vec<String> = chunks.iter().map(|data| event(None, data)).collect();
    events.push("data: [DONE]\n\n".into());
    events
}

/// The error of both protocols of this family.
pub(super) fn error(status: u16, kind: Kind, resets: Option<u64>) -> Value {
    let (class, code, message) = match (kind, status) {
        (Kind::Window, _) => ("usage_limit_reached", "usage_limit_reached", "You've hit your usage limit."),
        (Kind::Credit, _) => {
            ("insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan.")
        }
        (Kind::Context, _) => {
            ("invalid_request_error", "context_length_exceeded", "Your input exceeds the context window of this model.")
        }
        (_, 401) => ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
        (_, 403) => ("invalid_request_error", "forbidden", "This key may not use the requested resource."),
        (_, 404) => ("invalid_request_error", "model_not_found", "The model does not exist."),
        (_, 429) => ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
        (_, 503 | 529) => ("server_error", "server_is_overloaded", "The server is overloaded."),
        (_, 500..) => ("server_error", "server_error", "The server had an error."),
        _ => ("invalid_request_error", "invalid_request", "This request is refused."),
    };
    let mut error = json!({"message": message, "type": class, "code": code, "param": null});
    if let Some(at) = resets {
        error["resets_at"] = at.into();
    }
    json!({"error": error})
}
